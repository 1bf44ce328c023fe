import numpy as np, pandas as pd
key, common = ["direction", "reference"], ["currency", "amount", "status"]
def side(name, file):
    # Exact: the two decimals of the text are the minor units.
    rows = pd.read_csv(file, dtype={"line": str}, converters={"amount": lambda text: int(text.replace(".", ""))})
    rows = rows.rename(columns={c: f"{name}_{c}" for c in common})
    surplus = rows.duplicated(key)
    return rows[~surplus], rows[surplus]
(p, p_surplus), (l, l_surplus) = side("provider", "provider-export.csv"), side("ledger", "ledger-export.csv")
m = p.merge(l, on=key, how="outer", indicator="found")
tests = {
    "missing_in_ledger": m.found == "left_only",
    "missing_in_provider": m.found == "right_only",
    "currency_mismatch": m.provider_currency != m.ledger_currency,
    "amount_mismatch": m.provider_amount != m.ledger_amount,
    "status_mismatch": m.provider_status != m.ledger_status,
}
m["kind"] = np.select(list(tests.values()), list(tests), "")
d = pd.concat([m[m.kind != ""], p_surplus.assign(kind="duplicate_in_provider"), l_surplus.assign(kind="duplicate_in_ledger")])
for amount in ("provider_amount", "ledger_amount"):
    d[amount] = d[amount].astype("Int64")
d["difference"] = d.provider_amount - d.ledger_amount
d.drop(columns="found").to_csv("pandas.csv", index=False)
kinds = d.kind.value_counts().to_dict()
