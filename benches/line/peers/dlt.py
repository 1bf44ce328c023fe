import dlt, os, sqlite3, sys
from dlt.sources.rest_api import rest_api_source
here = os.getcwd()
source = rest_api_source({
    "client": {
        "base_url": sys.argv[1] + "/api/v1/",
        "paginator": {"type": "page_number", "base_page": 1, "total_path": "data.totalPages"},
    },
    "resources": [{
        "name": "payments",
        "primary_key": "id",
        "write_disposition": "merge",
        "endpoint": {"path": "payments", "params": {"limit": 100}, "data_selector": "data.data"},
    }],
})
pipeline = dlt.pipeline(
    "bench",
    pipelines_dir=here + "/dlt",
    destination=dlt.destinations.sqlalchemy(f"sqlite:///{here}/dlt.db"),
    dataset_name="main",
)
pipeline.run(source)
found = sqlite3.connect("dlt.db").execute("select count(*), count(distinct id) from payments").fetchone()
