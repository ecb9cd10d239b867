// Writes, reads and follows by the client that openapi-generator makes for Go: `use URL`.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"reflect"

	api "changeagent/api"
)

var ctx = context.Background()

func connect(url string) *api.APIClient {
	configuration := api.NewConfiguration()
	configuration.Servers = api.ServerConfigurations{{URL: url}}
	return api.NewAPIClient(configuration)
}

func must(err error) {
	if err == nil {
		return
	}
	if refused, is := err.(*api.GenericOpenAPIError); is {
		log.Fatal(err, string(refused.Body()))
	}
	log.Fatal(err)
}

func check(holds bool, found interface{}) {
	if !holds {
		log.Fatalf("this is not what was written: %+v", found)
	}
}

func one(data interface{}) api.AppendChangesRequest {
	return api.ChangeBodyAsAppendChangesRequest(&api.ChangeBody{Data: data})
}

func appended(client *api.APIClient, body api.AppendChangesRequest) *api.Appended {
	ids, _, err := client.ChangesAPI.AppendChanges(ctx).AppendChangesRequest(body).Execute()
	must(err)
	return ids
}

// The data of each change after `since`, up to the one that says "last".
func follow(url string, since int64, found chan []interface{}) {
	client, all := connect(url), []interface{}{}
	for len(all) == 0 || all[len(all)-1] != "last" {
		page, _, err := client.ChangesAPI.ListChanges(ctx).Since(since).Block(10).Execute()
		must(err)
		for _, change := range page.Changes {
			all = append(all, change.Data)
		}
		since = page.Last
	}
	found <- all
}

func main() {
	url := os.Args[1]
	client := connect(url)
	first := appended(client, one(map[string]interface{}{"from": "go"}))
	batch := appended(client, api.ArrayOfChangeBodyAsAppendChangesRequest(&[]api.ChangeBody{{Data: 1}, {Data: 2}}))
	check(batch.GetFirst() == first.GetId()+1 && batch.GetCount() == 2, batch)
	change, _, err := client.ChangesAPI.GetChange(ctx, first.GetId()).Execute()
	must(err)
	check(change.Ts > 1<<40 && reflect.DeepEqual(change.Data, map[string]interface{}{"from": "go"}), change)

	tenant, _, err := client.TenantsAPI.CreateTenant(ctx).NameBody(api.NameBody{Name: "go"}).Execute()
	must(err)
	collection, _, err := client.CollectionsAPI.CreateCollection(ctx, "go").NameBody(api.NameBody{Name: "keys"}).Execute()
	must(err)
	ttl := int64(3000000000)
	value := api.KeyValue{Data: []interface{}{1.0, nil}, Ttl: &ttl}
	put, _, err := client.KeysAPI.PutKey(ctx, collection.Collection, "a/b").KeyValue(value).Execute()
	must(err)
	many := api.ArrayOfKeyBodyAsWriteKeysOfTenantRequest(&[]api.KeyBody{{Key: "c", Data: "d"}})
	written, _, err := client.KeysAPI.WriteKeys(ctx, collection.Collection).WriteKeysOfTenantRequest(many).Execute()
	must(err)
	check(written.GetFirst() == put.Id+1, written)
	current, _, err := client.KeysAPI.GetKey(ctx, collection.Collection, "a/b").Execute()
	must(err)
	check(current.Id == put.Id && current.GetTtl() == ttl && reflect.DeepEqual(current.Data, value.Data), current)

	found := make(chan []interface{})
	go follow(url, written.GetLast(), found)
	appended(client, one("first"))
	appended(client, one("last"))
	followed := <-found
	check(reflect.DeepEqual(followed, []interface{}{"first", "last"}), followed)

	_, _, err = client.TenantsAPI.CreateTenant(ctx).NameBody(api.NameBody{Name: "go"}).Execute()
	refused, _ := err.(*api.GenericOpenAPIError)
	problem, is := refused.Model().(api.Problem)
	check(is && problem.Code == "name-taken" && problem.GetTenant() == tenant.Tenant, err)

	cluster, _, err := client.ClusterAPI.GetCluster(ctx).Execute()
	must(err)
	check(*cluster.Leader.Get() == cluster.Node && cluster.Members[0].State == "leader", cluster)
	fmt.Println("the client for Go wrote, read and followed")
}
