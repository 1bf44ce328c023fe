import polars as pl
def side(file, id, at):
    columns = {id: pl.String, "reference": pl.String, "direction": pl.String, "currency": pl.String, "amount": pl.Decimal(18, 2), "status": pl.String, at: pl.String}
    rows = pl.read_csv(file, schema=columns)
    first = pl.struct("direction", "reference").is_first_distinct()
    return rows.filter(first), rows.filter(~first)
(p, p_surplus), (l, l_surplus) = side("provider-export.csv", "provider_id", "occurred_at"), side("ledger-export.csv", "line", "booked_at")
key, common = ["direction", "reference"], ["currency", "amount", "status"]
p, p_surplus = (rows.rename({c: f"provider_{c}" for c in common}) for rows in (p, p_surplus))
l, l_surplus = (rows.rename({c: f"ledger_{c}" for c in common}) for rows in (l, l_surplus))
differ = [pl.col(f"provider_{c}") != pl.col(f"ledger_{c}") for c in common]
d = (
    p.lazy()
    .join(l.lazy(), on=key, how="full", coalesce=True)
    .with_columns(
        kind=pl.when(pl.col("line").is_null()).then(pl.lit("missing_in_ledger"))
        .when(pl.col("provider_id").is_null()).then(pl.lit("missing_in_provider"))
        .when(differ[0]).then(pl.lit("currency_mismatch"))
        .when(differ[1]).then(pl.lit("amount_mismatch"))
        .when(differ[2]).then(pl.lit("status_mismatch"))
    )
    .filter(pl.col("kind").is_not_null())
    .collect()
)
duplicates = [p_surplus.with_columns(kind=pl.lit("duplicate_in_provider")), l_surplus.with_columns(kind=pl.lit("duplicate_in_ledger"))]
d = pl.concat([d, *duplicates], how="diagonal").with_columns(difference=pl.col("provider_amount") - pl.col("ledger_amount"))
d.write_csv("polars.csv")
kinds = dict(d.group_by("kind").len().iter_rows())
