import duckdb
c = duckdb.connect()
c.execute("""create table d as select coalesce(p.reference, l.reference) r, p.amount a, l.amount b, p.status s, l.status t
from 'provider.csv' p full outer join 'ledger-side.csv' l on p.reference = l.reference
where p.amount is distinct from l.amount or p.status is distinct from l.status""")
c.execute("copy d to 'duck.csv'")
dup = [
    c.execute(f"select reference from '{f}' group by 1 having count(*) > 1").fetchall()
    for f in ("provider.csv", "ledger-side.csv")
]
found = c.execute("select count(*) filter (a <> b), count(*) filter (a = b), count(*) filter (b is null), count(*) filter (a is null) from d").fetchone()
found = [*found, *map(len, dup)]
