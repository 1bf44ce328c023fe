import pandas as pd
p, l = pd.read_csv("provider.csv"), pd.read_csv("ledger-side.csv")
m = p.merge(l, on="reference", how="outer", suffixes=("_p", "_l"), indicator=True)
both = m[m._merge == "both"]
amount = both.amount_p != both.amount_l
diff = both[amount | (both.status_p != both.status_l)]
dup = [side[side.duplicated("reference", keep=False)] for side in (p, l)]
missing = m[m._merge != "both"]
missing.to_csv("pandas-missing.csv"), diff.to_csv("pandas-diff.csv")
only = missing._merge.value_counts()
found = [amount.sum(), len(diff) - amount.sum(), only["left_only"], only["right_only"], *(d.reference.nunique() for d in dup)]
