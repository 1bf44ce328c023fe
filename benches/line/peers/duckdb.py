import duckdb
c = duckdb.connect()
c.execute("""copy (select coalesce(p.reference, l.reference) r, p.amount, l.amount, p.status, l.status
from 'provider.csv' p full outer join 'ledger-side.csv' l on p.reference = l.reference
where p.amount is distinct from l.amount or p.status is distinct from l.status) to 'duck.csv'""")
for f in ("provider.csv", "ledger-side.csv"):
    c.execute(f"select reference from '{f}' group by 1 having count(*) > 1").fetchall()
found = []
