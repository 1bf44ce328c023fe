-- Which records were known about a business day at an instant, and what did they say then?
-- Parameters: :job, :business_day, :as_of
-- The version of each record that was served last by then. `vanished` says that it was not listed any more by then.
SELECT v.job,
       v.provider,
       v.account,
       v.feed,
       v.provider_id,
       v.reference,
       v.direction,
       v.kind,
       v.currency,
       v.amount,
       v.fee,
       v.fee_currency,
       v.status,
       v.provider_status,
       v.occurred_at,
       v.changed_at,
       v.business_day,
       v.version,
       v.seen_at AS known_since,
       iif(v.vanished_at <= :as_of, 'yes', '') AS vanished
  FROM transaction_versions AS v
 WHERE v.job = :job AND v.business_day = :business_day AND v.seen_at <= :as_of
   AND v.version = (SELECT max(o.version) FROM transaction_versions AS o
                     WHERE o.transaction_id = v.transaction_id AND o.seen_at <= :as_of)
 ORDER BY v.feed, v.account, v.occurred_at, v.provider_id, v.subject
