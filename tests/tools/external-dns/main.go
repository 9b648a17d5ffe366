// Command external-dns is the coredns provider of external-dns as it is, with its registries and its planner, and without
// Kubernetes: what the tests ask for on standard input is done once, and the answer goes to standard output.
//
// The request is one JSON object:
//
//	{"do": "records"}                          what the provider reads
//	{"do": "apply", "changes": {...}}          what the provider makes of changes (create, updateOld, updateNew, delete)
//	{"do": "sync", "desired": [...]}           one round of its controller: registry, plan, policy, provider
//
// beside "prefix", "owner", "strict", "domains", "registry" ("noop" or "txt") and "policy" ("sync" or "upsert-only"). The
// answer is {"endpoints": [...], "changes": {...}} or {"error": "..."}; a panic is told as an error with "panic": true.
// Etcd is found by ETCD_URLS.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/pkg/apis/externaldns"
	"sigs.k8s.io/external-dns/plan"
	"sigs.k8s.io/external-dns/provider"
	"sigs.k8s.io/external-dns/provider/coredns"
	"sigs.k8s.io/external-dns/registry"
	"sigs.k8s.io/external-dns/registry/noop"
	"sigs.k8s.io/external-dns/registry/txt"
)

type request struct {
	Do       string               `json:"do"`
	Prefix   string               `json:"prefix"`
	Owner    string               `json:"owner"`
	Strict   bool                 `json:"strict"`
	Domains  []string             `json:"domains"`
	Registry string               `json:"registry"`
	Policy   string               `json:"policy"`
	Desired  []*endpoint.Endpoint `json:"desired"`
	Changes  *plan.Changes        `json:"changes"`
}

type answer struct {
	Endpoints []*endpoint.Endpoint `json:"endpoints,omitempty"`
	Changes   *plan.Changes        `json:"changes,omitempty"`
	Error     string               `json:"error,omitempty"`
	Panic     bool                 `json:"panic,omitempty"`
}

func main() {
	var asked request
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil {
		fmt.Fprintln(os.Stderr, "the request:", err)
		os.Exit(2)
	}
	if err := json.NewEncoder(os.Stdout).Encode(run(context.Background(), asked)); err != nil {
		fmt.Fprintln(os.Stderr, "the answer:", err)
		os.Exit(1)
	}
}

// What external-dns would end with is told, so that the tests can say which it was.
func run(ctx context.Context, asked request) (told answer) {
	defer func() {
		if reason := recover(); reason != nil {
			told = answer{Error: fmt.Sprint(reason), Panic: true}
		}
	}()
	told, err := do(ctx, asked)
	if err != nil {
		told.Error = err.Error()
	}
	return told
}

func do(ctx context.Context, asked request) (answer, error) {
	config := externaldns.NewConfig()
	config.CoreDNSPrefix = asked.Prefix
	config.CoreDNSStrictlyOwned = asked.Strict
	config.TXTOwnerID = asked.Owner
	config.ManagedDNSRecordTypes = []string{endpoint.RecordTypeA, endpoint.RecordTypeAAAA, endpoint.RecordTypeCNAME}
	filter := endpoint.NewDomainFilter(asked.Domains)
	p, err := coredns.New(ctx, config, filter)
	if err != nil {
		return answer{}, err
	}
	switch asked.Do {
	case "records":
		endpoints, err := p.Records(ctx)
		return answer{Endpoints: endpoints}, err
	case "apply":
		return answer{}, p.ApplyChanges(ctx, asked.Changes)
	case "sync":
		changes, err := sync(ctx, config, p, filter, asked)
		return answer{Changes: changes}, err
	default:
		return answer{}, fmt.Errorf("%q is none of records, apply and sync", asked.Do)
	}
}

// As Controller.RunOnce does it.
func sync(ctx context.Context, config *externaldns.Config, p provider.Provider, filter *endpoint.DomainFilter, asked request) (*plan.Changes, error) {
	var (
		records registry.Registry
		err     error
	)
	if asked.Registry == "txt" {
		records, err = txt.New(config, p)
	} else {
		records, err = noop.New(config, p)
	}
	if err != nil {
		return nil, err
	}
	current, err := records.Records(ctx)
	if err != nil {
		return nil, err
	}
	ctx = context.WithValue(ctx, provider.RecordsContextKey, current)
	desired, err := records.AdjustEndpoints(asked.Desired)
	if err != nil {
		return nil, err
	}
	var policy plan.Policy = &plan.SyncPolicy{}
	if asked.Policy == "upsert-only" {
		policy = &plan.UpsertOnlyPolicy{}
	}
	planned := (&plan.Plan{
		Policies:       []plan.Policy{policy},
		Current:        current,
		Desired:        desired,
		DomainFilter:   endpoint.MatchAllDomainFilters{filter, records.GetDomainFilter()},
		ManagedRecords: config.ManagedDNSRecordTypes,
		OwnerID:        records.OwnerID(),
	}).Calculate()
	if !planned.Changes.HasChanges() {
		return planned.Changes, nil
	}
	return planned.Changes, records.ApplyChanges(ctx, planned.Changes)
}
