package bedrocksdk

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/bedrock"
	"github.com/aws/aws-sdk-go-v2/service/bedrock/types"
	"github.com/aws/smithy-go/auth/bearer"

	"sluice/shared/core"
	upstreams "sluice/shared/upstream"
	upstream_bedrock "sluice/shared/upstream/bedrock"
	"sluice/shared/upstream/upstreamtest"
)

// AWS's client of the control plane judges the lists of models: those that the gateway answers with, and those of the service
// that all other tests hold the gateway against.

// catalogue is what a client of the control plane reads.
type catalogue struct {
	models   map[string]types.FoundationModelSummary
	profiles map[string]types.InferenceProfileSummary
	pages    int
}

// listed asks for all models, and for all profiles in pages of three.
func listed(t *testing.T, c *bedrock.Client) catalogue {
	t.Helper()
	out := catalogue{map[string]types.FoundationModelSummary{}, map[string]types.InferenceProfileSummary{}, 0}
	models, err := c.ListFoundationModels(t.Context(), &bedrock.ListFoundationModelsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range models.ModelSummaries {
		id := aws.ToString(m.ModelId)
		if _, again := out.models[id]; again || id == "" {
			t.Errorf("the model %q is listed again", id)
		}
		out.models[id] = m
	}
	pages := bedrock.NewListInferenceProfilesPaginator(c, &bedrock.ListInferenceProfilesInput{MaxResults: aws.Int32(3)})
	for pages.HasMorePages() {
		p, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if out.pages++; len(p.InferenceProfileSummaries) > 3 || out.pages > 100 {
			t.Fatalf("page %d has %d profiles of 3", out.pages, len(p.InferenceProfileSummaries))
		}
		for _, s := range p.InferenceProfileSummaries {
			id := aws.ToString(s.InferenceProfileId)
			if _, again := out.profiles[id]; again || id == "" {
				t.Errorf("the profile %q is listed again", id)
			}
			out.profiles[id] = s
		}
	}
	return out
}

// checkCatalogue holds what was read to what the types of AWS's client say is required or is one of a set.
func checkCatalogue(t *testing.T, got catalogue) {
	t.Helper()
	if len(got.models) < 3 || len(got.profiles) < 4 || got.pages < 2 {
		t.Fatalf("%d models, %d profiles in %d pages", len(got.models), len(got.profiles), got.pages)
	}
	known := func(what string, in bool) {
		t.Helper()
		if !in {
			t.Errorf("%s is not what AWS's types know", what)
		}
	}
	for id, m := range got.models {
		known(id+": arn "+aws.ToString(m.ModelArn), strings.HasPrefix(aws.ToString(m.ModelArn), "arn:aws:bedrock:") && strings.HasSuffix(aws.ToString(m.ModelArn), "::foundation-model/"+id))
		known(id+": streaming", m.ResponseStreamingSupported != nil)
		known(id+": names", aws.ToString(m.ModelName) != "" && aws.ToString(m.ProviderName) != "")
		known(id+": modalities", len(m.InputModalities) > 0 && len(m.OutputModalities) > 0)
		for _, v := range append(slices.Clone(m.InputModalities), m.OutputModalities...) {
			known(id+": modality "+string(v), slices.Contains(v.Values(), v))
		}
		for _, v := range m.InferenceTypesSupported {
			known(id+": inference type "+string(v), slices.Contains(v.Values(), v) || v == "INFERENCE_PROFILE") // which AWS answers with and its types lack
		}
		if l := m.ModelLifecycle; l == nil || !slices.Contains(l.Status.Values(), l.Status) {
			t.Errorf("%s: lifecycle %+v", id, l)
		}
	}
	for id, p := range got.profiles {
		known(id+": status "+string(p.Status), slices.Contains(p.Status.Values(), p.Status))
		known(id+": type "+string(p.Type), slices.Contains(p.Type.Values(), p.Type))
		known(id+": arn "+aws.ToString(p.InferenceProfileArn), strings.HasSuffix(aws.ToString(p.InferenceProfileArn), "/"+id))
		known(id+": name", aws.ToString(p.InferenceProfileName) != "")
		if len(p.Models) == 0 {
			t.Errorf("%s is of no model", id)
		}
		for _, m := range p.Models {
			if _, base, _ := strings.Cut(aws.ToString(m.ModelArn), "::foundation-model/"); base == "" || p.Type == types.InferenceProfileTypeSystemDefined && !strings.HasSuffix(id, base) {
				t.Errorf("%s is of %s", id, aws.ToString(m.ModelArn))
			}
		}
		known(id+": times", p.CreatedAt != nil && p.UpdatedAt != nil) // the gateway's are the epoch, as in GET /v1/models
	}
}

// TestFrontCatalogue: what a client of the control plane reads below /bedrock.
func TestFrontCatalogue(t *testing.T) {
	f := newFront(t, "invoke")
	with := func(key string) *bedrock.Client {
		return bedrock.New(bedrock.Options{Region: "us-east-1", BaseEndpoint: aws.String(f.url), HTTPClient: f.http, RetryMaxAttempts: 1,
			BearerAuthTokenProvider: bearer.StaticTokenProvider{Token: bearer.Token{Value: key}}, AuthSchemePreference: []string{"httpBearerAuth"}})
	}
	c := with(frontKey)
	got := listed(t, c)
	checkCatalogue(t, got)
	for id, p := range got.profiles {
		for _, name := range []string{id, aws.ToString(p.InferenceProfileArn)} {
			one, err := c.GetInferenceProfile(t.Context(), &bedrock.GetInferenceProfileInput{InferenceProfileIdentifier: aws.String(name)})
			if err != nil || aws.ToString(one.InferenceProfileId) != id || one.Status != p.Status || one.Type != p.Type || len(one.Models) != len(p.Models) {
				t.Errorf("%s alone: %+v, %v", name, one, err)
			}
		}
	}
	if _, ok := got.profiles[frontModel]; !ok {
		t.Errorf("no %s", frontModel)
	}
	own, err := c.ListInferenceProfiles(t.Context(), &bedrock.ListInferenceProfilesInput{TypeEquals: types.InferenceProfileTypeApplication})
	if err != nil || len(own.InferenceProfileSummaries) != 0 || own.NextToken != nil {
		t.Errorf("profiles of one's own, which the gateway has none of: %+v, %v", own, err)
	}
	of := func(maker string) int {
		m, err := c.ListFoundationModels(t.Context(), &bedrock.ListFoundationModelsInput{ByProvider: aws.String(maker)})
		if err != nil {
			t.Fatal(err)
		}
		return len(m.ModelSummaries)
	}
	if n := of("anthropic"); n == 0 || of("nobody") != 0 {
		t.Errorf("%d models of Anthropic", n)
	}
	var missing *types.ResourceNotFoundException
	if _, err := c.GetInferenceProfile(t.Context(), &bedrock.GetInferenceProfileInput{InferenceProfileIdentifier: aws.String("us.anthropic.none")}); !errors.As(err, &missing) {
		t.Errorf("a profile that is not there: %v", err)
	}
	var wrong *types.ValidationException
	if _, err := c.ListInferenceProfiles(t.Context(), &bedrock.ListInferenceProfilesInput{NextToken: aws.String("nonsense")}); !errors.As(err, &wrong) {
		t.Errorf("a page that is none: %v", err)
	}
	if _, err := with("another-key-of-these-tests-01").ListFoundationModels(t.Context(), &bedrock.ListFoundationModelsInput{}); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a wrong key: %v", err)
	}
}

// TestServiceCatalogue: the service of the tests answers as AWS's client expects, and the gateway's own reader of it, which
// has none of AWS's types, finds the same: what is invoked by itself, and every profile that AWS made.
func TestServiceCatalogue(t *testing.T) {
	up := upstreamtest.NewBedrock(t)
	key := credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "")
	c := bedrock.New(bedrock.Options{Region: "us-east-1", HTTPClient: &http.Client{Transport: up.Transport()}, RetryMaxAttempts: 1, Credentials: key})
	got := listed(t, c)
	checkCatalogue(t, got)
	var want []string
	for id, m := range got.models {
		if slices.Contains(m.InferenceTypesSupported, types.InferenceTypeOnDemand) && slices.Contains(m.OutputModalities, types.ModelModalityText) {
			want = append(want, id)
		}
	}
	for id := range got.profiles {
		want = append(want, id)
	}
	tr := &upstreams.Transports{Guarded: up.Transport(), Operator: up.Transport()}
	node := core.Node{ID: "1", Account: core.DefaultAccount, Kind: core.KindBedrock, API: upstream_bedrock.APIInvoke, Region: "us-east-1"}
	list, err := upstream_bedrock.New(upstream_bedrock.Options{Transports: tr}).Models(t.Context(), upstreams.Target{Node: &node, Credential: core.NewSecret(frontSecret)})
	if err != nil {
		t.Fatal(err)
	}
	var read []string
	for _, m := range list {
		read = append(read, m.ID)
		if p, ok := got.profiles[m.ID]; ok && aws.ToString(p.InferenceProfileName) != m.Name {
			t.Errorf("%s is called %s", m.ID, m.Name)
		}
	}
	slices.Sort(want)
	slices.Sort(read)
	if !slices.Equal(read, want) {
		t.Errorf("got %s,\nAWS's client %s", read, want)
	}
}
