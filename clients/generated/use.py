"""Writes, reads and follows by the client that openapi-generator makes for Python: `use.py URL`."""

import sys
import threading

import changeagent_api as api
from changeagent_api.exceptions import ApiException

configuration = api.Configuration(host=sys.argv[1])


def follow(since, until, found):
    """The data of each change after `since`, up to the one that says `until`."""
    changes = api.ChangesApi(api.ApiClient(configuration))
    while not found or found[-1].data != until:
        page = changes.list_changes(since=since, block=10)
        found.extend(page.changes)
        since = page.last


client = api.ApiClient(configuration)
changes, tenants = api.ChangesApi(client), api.TenantsApi(client)
one = changes.append_changes(api.AppendChangesRequest(api.ChangeBody(data={"from": "python"}, tags=["made"])))
batch = changes.append_changes(api.AppendChangesRequest([api.ChangeBody(data=n) for n in range(3)]))
assert (batch.first, batch.last, batch.count) == (one.id + 1, one.id + 3, 3), batch
change = changes.get_change(one.id)
assert change.data == {"from": "python"} and change.tags == ["made"] and change.ts > 2**40, change

tenant = tenants.create_tenant(api.NameBody(name="python")).tenant
collection = api.CollectionsApi(client).create_collection(str(tenant), api.NameBody(name="keys")).collection
keys = api.KeysApi(client)
first = keys.put_key(collection, "a/b", api.KeyValue(data=[1, 2.5, None], ttl=3_000_000_000))
many = keys.write_keys(collection, api.WriteKeysOfTenantRequest([api.KeyBody(key="c", data="d")]))
current = keys.get_key(collection, "a/b")
assert current.id == first.id and current.data == [1, 2.5, None] and current.ttl == 3_000_000_000, current
assert many.first == first.id + 1, many

followed = []
follower = threading.Thread(target=follow, args=(many.last, "last", followed), daemon=True)
follower.start()
for data in ("first", "last"):
    changes.append_changes(api.AppendChangesRequest(api.ChangeBody(data=data, tenant="python")))
follower.join(30)
assert [(change.data, change.tenant) for change in followed] == [("first", tenant), ("last", tenant)], followed

try:
    tenants.create_tenant(api.NameBody(name="python"))
    raise SystemExit("the name was taken twice")
except ApiException as refused:
    problem = refused.data
    assert isinstance(problem, api.Problem) and problem.code == api.ErrorCode.NAME_MINUS_TAKEN, problem
    assert problem.status == 409 and problem.tenant == tenant, problem

cluster = api.ClusterApi(client).get_cluster()
assert cluster.leader == cluster.node and cluster.members[0].state == "leader", cluster
print("the client for Python wrote, read and followed")
