package upstreamtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Profile is one that ListAvailableProfiles of [AmazonQ] tells.
type Profile struct {
	ARN  string `json:"arn"`
	Name string `json:"profileName"`
}

func defaultProfiles() []Profile {
	return []Profile{{"arn:aws:codewhisperer:us-east-1:123456789012:profile/ABCDEFGHIJKL", "fake"}}
}

// SetProfiles sets the profiles of ListAvailableProfiles.
func (q *AmazonQ) SetProfiles(profiles ...Profile) {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	q.state.profiles = slices.Clone(profiles)
}

// SetQuota sets what GetUsageLimits tells: credits used of those that the plan
// has, and when they begin again.
func (q *AmazonQ) SetQuota(used, limit float64, reset time.Time) {
	q.SetUsageLimits(quota(used, limit, reset))
}

// SetUsageLimits sets the whole answer of GetUsageLimits, a JSON object.
func (q *AmazonQ) SetUsageLimits(object string) {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	q.state.quota = object
}

func defaultQuota() string { return quota(12.5, 1000, nextMonth(time.Now())) }

// nextMonth is the first instant of the next month, when quotas begin again.
func nextMonth(now time.Time) time.Time {
	y, m, _ := now.UTC().Date()
	return time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC)
}

// quota is an answer as accounts with credits get it; times are seconds since
// the epoch.
func quota(used, limit float64, reset time.Time) string {
	at := strconv.FormatInt(reset.Unix(), 10) + ".0"
	precise := func(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
	whole := func(n float64) string { return strconv.Itoa(int(n)) }
	days := max(int(time.Until(reset).Hours()/24), 0)
	return `{"daysUntilReset":` + strconv.Itoa(days) + `,"limits":[],"nextDateReset":` + at +
		`,"overageConfiguration":{"overageStatus":"DISABLED"},"subscriptionInfo":{"overageCapability":"OVERAGE_CAPABLE",` +
		`"subscriptionManagementTarget":"MANAGE","subscriptionTitle":"Q DEVELOPER PRO","type":"Q_DEVELOPER_STANDALONE_PRO","upgradeCapability":"UPGRADE_INCAPABLE"},` +
		`"usageBreakdownList":[{"currency":"USD","currentOverages":0,"currentUsage":` + whole(used) + `,"currentUsageWithPrecision":` + precise(used) +
		`,"displayName":"Credit","nextDateReset":` + at + `,"overageCap":0,"overageCharges":0.0,"overageRate":0.04,"resourceType":"CREDIT","unit":"INVOCATIONS",` +
		`"usageLimit":` + whole(limit) + `,"usageLimitWithPrecision":` + precise(limit) + `}],"userInfo":{"email":null,"userId":"d-0000000000.00000000"}}`
}

// control answers an operation of the control plane.
func (q *AmazonQ) control(x *exchange, operation string) {
	var in struct {
		Origin       *string `json:"origin"`
		ProfileARN   *string `json:"profileArn"`
		ResourceType *string `json:"resourceType"`
		MaxResults   *int    `json:"maxResults"`
		NextToken    *string `json:"nextToken"`
		Email        *bool   `json:"isEmailRequired"`
	}
	if json.Unmarshal(x.req.Body, &in) != nil {
		q.refuse(x, qSerialization(), operation+": the body is no JSON object of its members")
		return
	}
	c := qChecker{}
	if in.ProfileARN != nil && !profileARN.MatchString(*in.ProfileARN) {
		c.improper("profileArn %q", *in.ProfileARN)
	}
	if in.Origin != nil && !slices.Contains(origins(), *in.Origin) {
		c.improper("origin %q", *in.Origin)
	}
	if in.ResourceType != nil && !slices.Contains([]string{"AGENTIC_REQUEST", "CREDIT", "SPEC", "VIBE"}, *in.ResourceType) {
		c.improper("resourceType %q", *in.ResourceType)
	}
	most := 100
	if operation == "ListAvailableProfiles" {
		most = 10
	}
	size := most
	if in.MaxResults != nil {
		if size = *in.MaxResults; size < 1 || size > most {
			c.improper("maxResults %d", size)
		}
	}
	from := 0
	if in.NextToken != nil {
		var ok bool
		if from, ok = pageStart(*in.NextToken); !ok {
			c.improper("nextToken %q", *in.NextToken)
		}
	}
	if c.cause != "" {
		q.refuse(x, c.problem, operation+": "+c.cause)
		return
	}
	if q.page > 0 {
		size = min(size, q.page)
	}
	x.normally(q.ops.next(operation), func() (int, []byte) { return http.StatusOK, q.list(operation, from, size) })
}

// WithPage makes the lists of [AmazonQ] give at most n results at a time, as the
// service may whatever was asked for.
func WithPage(n int) Option { return func(o *options) { o.page = n } }

// list is the answer of an operation.
func (q *AmazonQ) list(operation string, from, size int) []byte {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	switch operation {
	case "GetUsageLimits":
		return []byte(q.state.quota)
	case "ListAvailableProfiles":
		all, next := page(q.state.profiles, from, size)
		return mustJSON(struct {
			Profiles []Profile `json:"profiles"`
			Next     *string   `json:"nextToken"`
		}{all, next})
	}
	ids, next := page(q.state.models, from, size)
	out := struct {
		Default *qModel  `json:"defaultModel"`
		Models  []qModel `json:"models"`
		Next    *string  `json:"nextToken"`
	}{Models: []qModel{}, Next: next}
	for _, id := range ids {
		out.Models = append(out.Models, newQModel(id))
	}
	if len(q.state.models) > 0 {
		m := newQModel(q.state.models[0])
		out.Default = &m
	}
	return mustJSON(out)
}

type qModel struct {
	Description string   `json:"description"`
	ID          string   `json:"modelId"`
	Name        string   `json:"modelName"`
	Rate        float64  `json:"rateMultiplier"`
	Unit        string   `json:"rateUnit"`
	Inputs      []string `json:"supportedInputTypes"`
	Cache       bool     `json:"supportsPromptCache"`
	Limits      struct {
		Input  int `json:"maxInputTokens"`
		Output int `json:"maxOutputTokens"`
	} `json:"tokenLimits"`
}

func newQModel(id string) qModel {
	m := qModel{Description: "The model " + id, ID: id, Name: id, Rate: 1, Unit: "Credit", Inputs: []string{"TEXT", "IMAGE"}, Cache: true}
	m.Limits.Input, m.Limits.Output = 200_000, 64_000
	return m
}

const pagePrefix = "page-"

func pageStart(token string) (int, bool) {
	raw, err := base64.StdEncoding.DecodeString(token)
	digits, ok := strings.CutPrefix(string(raw), pagePrefix)
	n, err2 := strconv.Atoi(digits)
	return n, err == nil && err2 == nil && ok && n > 0
}

// page is a part of a list and the token of the next.
func page[T any](all []T, from, size int) ([]T, *string) {
	from = min(from, len(all))
	end := min(from+size, len(all))
	part := append([]T{}, all[from:end]...)
	if end == len(all) {
		return part, nil
	}
	token := base64.StdEncoding.EncodeToString([]byte(pagePrefix + strconv.Itoa(end)))
	return part, &token
}

// mustJSON is for values that always can be JSON.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("upstreamtest: %v", err))
	}
	return b
}
