import pandas as pd
p, l = pd.read_csv("provider.csv"), pd.read_csv("ledger-side.csv")
m = p.merge(l, on="reference", how="outer", suffixes=("_p", "_l"), indicator=True)
both = m[m._merge == "both"]
diff = both[(both.amount_p != both.amount_l) | (both.status_p != both.status_l)]
dup = p[p.duplicated("reference", keep=False)], l[l.duplicated("reference", keep=False)]
m[m._merge != "both"].to_csv("pandas-missing.csv"), diff.to_csv("pandas-diff.csv")
found = []
