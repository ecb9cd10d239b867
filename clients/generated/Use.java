import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.ChangesApi;
import org.openapitools.client.api.ClusterApi;
import org.openapitools.client.api.CollectionsApi;
import org.openapitools.client.api.KeysApi;
import org.openapitools.client.api.TenantsApi;
import org.openapitools.client.model.*;

/** Writes, reads and follows by the client that openapi-generator makes for Java: `Use URL`. */
public class Use {
  static ApiClient connect(String url) {
    ApiClient client = new ApiClient();
    client.updateBaseUri(url);
    return client;
  }

  static void check(boolean holds, Object found) {
    if (!holds) {
      throw new IllegalStateException("this is not what was written: " + found);
    }
  }

  static Appended append(ApiClient client, Object data) throws ApiException {
    AppendChangesRequest body = new AppendChangesRequest(new ChangeBody().data(data));
    return new ChangesApi(client).appendChanges(body, null, null);
  }

  static ChangeList page(ApiClient client, long since) throws ApiException {
    BigDecimal block = BigDecimal.TEN;
    return new ChangesApi(client)
        .listChanges(since, null, null, null, null, null, block, null, null, null, null, null, null, null, null, null);
  }

  /** The data of each change after `since`, up to the one that says "last". */
  static List<Object> follow(String url, long since) {
    ApiClient client = connect(url);
    List<Object> found = new ArrayList<>();
    try {
      while (found.isEmpty() || !found.get(found.size() - 1).equals("last")) {
        ChangeList page = page(client, since);
        page.getChanges().forEach(change -> found.add(change.getData()));
        since = page.getLast();
      }
    } catch (ApiException refused) {
      throw new IllegalStateException(refused);
    }
    return found;
  }

  static void refusal(ApiClient client, Tenant tenant) throws Exception {
    try {
      new TenantsApi(client).createTenant(new NameBody().name("java"), null, null);
      check(false, "the name was taken twice");
    } catch (ApiException refused) {
      Problem problem = client.getObjectMapper().readValue(refused.getResponseBody(), Problem.class);
      check(problem.getCode() == ErrorCode.NAME_TAKEN && problem.getTenant().equals(tenant.getTenant()), problem);
    }
  }

  public static void main(String[] arguments) throws Exception {
    String url = arguments[0];
    ApiClient client = connect(url);
    Appended one = append(client, Map.of("from", "java"));
    ChangeBodies two = new ChangeBodies();
    two.add(new ChangeBody().data(1));
    two.add(new ChangeBody().data(2));
    Appended batch = new ChangesApi(client).appendChanges(new AppendChangesRequest(two), null, null);
    check(batch.getFirst() == one.getId() + 1 && batch.getCount() == 2, batch);
    Change change = new ChangesApi(client).getChange(one.getId(), null, null, null, null);
    check(change.getTs() > 1L << 40 && change.getData().equals(Map.of("from", "java")), change);

    Tenant tenant = new TenantsApi(client).createTenant(new NameBody().name("java"), null, null);
    Collection collection =
        new CollectionsApi(client).createCollection("java", new NameBody().name("keys"), null, null);
    KeysApi keys = new KeysApi(client);
    KeyValue value = new KeyValue().data(Arrays.asList(1, null)).ttl(3_000_000_000L);
    Written put = keys.putKey(collection.getCollection(), "a/b", value, null, null, null, null);
    KeyBodies bodies = new KeyBodies();
    bodies.add(new KeyBody().key("c").data("d"));
    WriteKeysOfTenantRequest many = new WriteKeysOfTenantRequest(bodies);
    Appended written = keys.writeKeys(collection.getCollection(), many, null, null, null, null);
    check(written.getFirst() == put.getId() + 1, written);
    Change current = keys.getKey(collection.getCollection(), "a/b", null, null, null, null, null, null, null, null);
    check(current.getId().equals(put.getId()) && current.getData().equals(value.getData()), current);
    check(current.getTtl() == 3_000_000_000L, current);

    CompletableFuture<List<Object>> follower =
        CompletableFuture.supplyAsync(() -> follow(url, written.getLast()));
    append(client, "first");
    append(client, "last");
    List<Object> followed = follower.get(30, TimeUnit.SECONDS);
    check(followed.equals(List.of("first", "last")), followed);
    refusal(client, tenant);

    Cluster cluster = new ClusterApi(client).getCluster(null);
    check(cluster.getLeader().equals(cluster.getNode()), cluster);
    check(cluster.getMembers().get(0).getState() == Member.StateEnum.LEADER, cluster);
    System.out.println("the client for Java wrote, read and followed");
    System.exit(0);
  }
}
