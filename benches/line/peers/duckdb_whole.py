import duckdb
c = duckdb.connect()
for side, file, id, at in [("p", "provider-export.csv", "provider_id", "occurred_at"), ("l", "ledger-export.csv", "line", "booked_at")]:
    c.execute(f"""create table {side}_all as from read_csv('{file}', columns = {{'{id}': 'VARCHAR', 'reference': 'VARCHAR',
        'direction': 'VARCHAR', 'currency': 'VARCHAR', 'amount': 'DECIMAL(18,2)', 'status': 'VARCHAR', '{at}': 'VARCHAR'}})""")
    # Few references stand twice: only their rows are numbered.
    c.execute(f"""create table {side}_surplus as select rowid as surplus, * from {side}_all
        where (direction, reference) in (select (direction, reference) from {side}_all group by direction, reference having count(*) > 1)
        qualify row_number() over (partition by direction, reference order by {at}, {id}) > 1""")
    c.execute(f"create view {side} as from {side}_all where rowid not in (select surplus from {side}_surplus)")
values = """p.currency as provider_currency, l.currency as ledger_currency, p.amount as provider_amount, l.amount as ledger_amount,
    p.amount - l.amount as difference, p.status as provider_status, l.status as ledger_status"""
surplus = """select 'duplicate_in_{kind}' as kind, * exclude (surplus) rename (currency as {kind}_currency, amount as {kind}_amount,
    status as {kind}_status) from {side}_surplus"""
c.execute(f"""create table d as
    select case when line is null then 'missing_in_ledger' when provider_id is null then 'missing_in_provider'
                when p.currency <> l.currency then 'currency_mismatch' when p.amount <> l.amount then 'amount_mismatch'
                else 'status_mismatch' end as kind, direction, reference, {values}, provider_id, line, occurred_at, booked_at
      from p full join l using (direction, reference)
     where p.currency is distinct from l.currency or p.amount is distinct from l.amount or p.status is distinct from l.status
    union all by name {surplus.format(kind="provider", side="p")}
    union all by name {surplus.format(kind="ledger", side="l")}""")
c.execute("copy d to 'duckdb.csv'")
kinds = dict(c.execute("select kind, count(*) from d group by kind").fetchall())
