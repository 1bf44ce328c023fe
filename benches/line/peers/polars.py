import polars as pl
p, l = pl.read_csv("provider.csv"), pl.read_csv("ledger-side.csv")
m = p.join(l, on="reference", how="full", suffix="_l")
diff = m.filter(pl.col("amount").is_not_null() & pl.col("amount_l").is_not_null() & ((pl.col("amount") != pl.col("amount_l")) | (pl.col("status") != pl.col("status_l"))))
missing = m.filter(pl.col("amount").is_null() | pl.col("amount_l").is_null())
dup = [side.filter(pl.col("reference").is_duplicated()) for side in (p, l)]
diff.write_csv("polars-diff.csv"), missing.write_csv("polars-missing.csv")
amount = (diff["amount"] != diff["amount_l"]).sum()
found = [amount, len(diff) - amount, missing["amount_l"].null_count(), missing["amount"].null_count(), *(d["reference"].n_unique() for d in dup)]
