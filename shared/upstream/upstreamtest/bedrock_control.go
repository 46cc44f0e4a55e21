package upstreamtest

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	bAccount     = "123456789012"
	stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"
)

// bCreated is when all models and profiles were made.
func bCreated() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// listModels answers GET /v1/models: in OpenAI's shape on mantle's own path, in
// Anthropic's under the path of the Messages API. The Claude Platform has
// Anthropic's names.
func (k *Bedrock) listModels(x *exchange) {
	type entry struct {
		ID      string `json:"id"`
		Object  string `json:"object,omitempty"`
		Created int64  `json:"created,omitempty"`
		Owner   string `json:"owned_by,omitempty"`
		Type    string `json:"type,omitempty"`
		Name    string `json:"display_name,omitempty"`
		At      string `json:"created_at,omitempty"`
	}
	var out struct {
		Object  string  `json:"object,omitempty"`
		Data    []entry `json:"data"`
		HasMore *bool   `json:"has_more,omitempty"`
		FirstID *string `json:"first_id,omitempty"`
		LastID  *string `json:"last_id,omitempty"`
	}
	openai := x.bedrock.host == hostMantle && !strings.Contains(x.req.Path, "/anthropic/")
	out.Data = []entry{}
	for _, m := range k.allModels() {
		switch {
		case !m.Mantle:
		case openai:
			owner, _, _ := strings.Cut(m.ID, ".")
			out.Data = append(out.Data, entry{ID: m.ID, Object: "model", Created: bCreated().Unix(), Owner: owner})
		default:
			id := m.ID
			if x.bedrock.host == hostExternal {
				id = m.bare()
			}
			out.Data = append(out.Data, entry{ID: id, Type: "model", Name: displayName(m.bare()), At: bCreated().Format(time.RFC3339)})
		}
	}
	if openai {
		out.Object = "list"
	} else if n := len(out.Data); n > 0 {
		out.HasMore, out.FirstID, out.LastID = new(bool), &out.Data[0].ID, &out.Data[n-1].ID
	}
	x.normally(k.ops.next("ListModels"), func() (int, []byte) { return http.StatusOK, mustJSON(out) })
}

func (k *Bedrock) allModels() []BedrockModel {
	k.state.mu.Lock()
	defer k.state.mu.Unlock()
	return k.state.models
}

func modelARN(region, id string) string {
	return "arn:aws:bedrock:" + region + "::foundation-model/" + id
}

// listFoundationModels answers with all models; the operation has no pages.
func (k *Bedrock) listFoundationModels(x *exchange) {
	type summary struct {
		Customizations []string `json:"customizationsSupported"`
		Inference      []string `json:"inferenceTypesSupported"`
		Inputs         []string `json:"inputModalities"`
		ARN            string   `json:"modelArn"`
		ID             string   `json:"modelId"`
		Lifecycle      struct {
			Status string `json:"status"`
		} `json:"modelLifecycle"`
		Name      string   `json:"modelName"`
		Outputs   []string `json:"outputModalities"`
		Provider  string   `json:"providerName"`
		Streaming bool     `json:"responseStreamingSupported"`
	}
	q, err := url.ParseQuery(x.req.RawQuery)
	if err != nil {
		k.refuse(x, bValidation("The query string is malformed."), "query")
		return
	}
	kind := q.Get("byInferenceType")
	if kind != "" && kind != "ON_DEMAND" && kind != "PROVISIONED" && kind != "INFERENCE_PROFILE" {
		c := &bChecker{}
		c.constraint(value{path: "byInferenceType", raw: []byte(quote(kind))}, "Member must satisfy enum value set: [ON_DEMAND, PROVISIONED]")
		k.refuse(x, c.problem, c.cause)
		return
	}
	out := struct {
		Models []summary `json:"modelSummaries"`
	}{[]summary{}}
	for _, m := range k.allModels() {
		maker, _, _ := strings.Cut(m.ID, ".")
		s := summary{
			Customizations: []string{}, Inference: []string{}, Inputs: []string{"TEXT", "IMAGE"}, ARN: modelARN(x.bedrock.region, m.ID), ID: m.ID,
			Name: displayName(m.bare()), Outputs: []string{"TEXT"}, Provider: strings.ToUpper(maker[:1]) + maker[1:], Streaming: true,
		}
		s.Lifecycle.Status = "ACTIVE"
		if m.OnDemand {
			s.Inference = append(s.Inference, "ON_DEMAND")
		}
		if len(m.Profiles) > 0 {
			s.Inference = append(s.Inference, "INFERENCE_PROFILE")
		}
		by := q.Get("byProvider")
		if (kind == "" || slices.Contains(s.Inference, kind)) && (by == "" || strings.EqualFold(by, s.Provider)) {
			out.Models = append(out.Models, s)
		}
	}
	x.normally(k.ops.next("ListFoundationModels"), func() (int, []byte) { return http.StatusOK, mustJSON(out) })
}

type profileSummary struct {
	Created     string            `json:"createdAt"`
	Description string            `json:"description"`
	ARN         string            `json:"inferenceProfileArn"`
	ID          string            `json:"inferenceProfileId"`
	Name        string            `json:"inferenceProfileName"`
	Models      []profileModelARN `json:"models"`
	Status      string            `json:"status"`
	Type        string            `json:"type"`
	Updated     string            `json:"updatedAt"`
}

type profileModelARN struct {
	ARN string `json:"modelArn"`
}

// profiles are the inference profiles of a region.
func (k *Bedrock) profiles(region string) []profileSummary {
	at := bCreated().Format(time.RFC3339)
	var out []profileSummary
	add := func(m BedrockModel, kind, id, typ, name string) {
		out = append(out, profileSummary{
			Created: at, Description: "Routes requests to " + displayName(m.bare()) + ".", ARN: "arn:aws:bedrock:" + region + ":" + bAccount + ":" + kind + "/" + id,
			ID: id, Name: name, Models: []profileModelARN{{modelARN(region, m.ID)}}, Status: "ACTIVE", Type: typ, Updated: at,
		})
	}
	for _, m := range k.allModels() {
		for _, place := range m.Profiles {
			if reaches(place, region) {
				add(m, "inference-profile", place+"."+m.ID, "SYSTEM_DEFINED", strings.ToUpper(place)+" "+displayName(m.bare()))
			}
		}
		for _, id := range m.Applications {
			add(m, "application-inference-profile", id, "APPLICATION", "app-"+id)
		}
	}
	return out
}

// listInferenceProfiles answers with a page of the profiles of a type; without
// one, SYSTEM_DEFINED.
func (k *Bedrock) listInferenceProfiles(x *exchange) {
	c := &bChecker{}
	q, err := url.ParseQuery(x.req.RawQuery)
	if err != nil {
		c.refuse("The query string is malformed.")
	}
	size, from := 100, 0
	if s := q.Get("maxResults"); s != "" {
		if size, err = strconv.Atoi(s); err != nil || size < 1 || size > 1000 {
			c.constraint(value{path: "maxResults", raw: []byte(quote(s))}, "Member must have value between 1 and 1000")
		}
	}
	if token := q.Get("nextToken"); token != "" {
		var ok bool
		if from, ok = pageStart(token); !ok {
			c.refuse("The nextToken is invalid.")
		}
	}
	typ := q.Get("type")
	if typ == "" {
		typ = "SYSTEM_DEFINED"
	}
	c.oneOf(value{path: "type", raw: []byte(quote(typ))}, "SYSTEM_DEFINED", "APPLICATION")
	if c.cause != "" {
		k.refuse(x, c.problem, c.cause)
		return
	}
	if k.page > 0 {
		size = min(size, k.page)
	}
	all := slices.DeleteFunc(k.profiles(x.bedrock.region), func(p profileSummary) bool { return p.Type != typ })
	part, next := page(all, from, size)
	out := struct {
		Profiles []profileSummary `json:"inferenceProfileSummaries"`
		Next     *string          `json:"nextToken,omitempty"`
	}{part, next}
	x.normally(k.ops.next("ListInferenceProfiles"), func() (int, []byte) { return http.StatusOK, mustJSON(out) })
}

// BedrockRole is a role that AssumeRole of [Bedrock] hands out.
type BedrockRole struct {
	ARN string
	// ExternalID must be given if it is not empty.
	ExternalID string
	// Lifetime of its credentials; 0: as asked.
	Lifetime time.Duration
}

// SetRoles replaces the roles that may be assumed; at the start there is none.
func (k *Bedrock) SetRoles(roles ...BedrockRole) {
	k.state.mu.Lock()
	defer k.state.mu.Unlock()
	k.state.roles = slices.Clone(roles)
}

// The patterns of the token service's API reference.
var (
	stsSession  = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	stsExternal = regexp.MustCompile(`^[\w+=,.@:/-]{2,}$`)
	stsRole     = regexp.MustCompile(`^arn:aws:iam::\d{12}:role/[\w+=,.@/-]+$`)
)

// assumeRole hands out credentials, which sign from then on.
func (k *Bedrock) assumeRole(x *exchange) {
	form, err := url.ParseQuery(string(x.req.Body))
	c := &bChecker{}
	seconds, err2 := strconv.Atoi(cmpOr(form.Get("DurationSeconds"), "3600"))
	arn, session, external := form.Get("RoleArn"), form.Get("RoleSessionName"), form.Get("ExternalId")
	at := func(name, v string) value { return value{path: name, raw: []byte(quote(v))} }
	switch {
	case err != nil || form.Get("Action") != "AssumeRole" || form.Get("Version") != "2011-06-15":
		c.fail(bError{400, "InvalidActionException", "Could not find operation " + form.Get("Action") + " for version " + form.Get("Version"), false, false})
	case !stsRole.MatchString(arn):
		c.refuse("%s is invalid", arn)
	case !stsSession.MatchString(session):
		c.constraint(at("roleSessionName", session), `Member must satisfy regular expression pattern: [\w+=,.@-]*`)
	case err2 != nil || seconds < 900 || seconds > 43_200:
		c.constraint(at("durationSeconds", form.Get("DurationSeconds")), "Member must have value between 900 and 43200")
	case external != "" && (len(external) > 1224 || !stsExternal.MatchString(external)):
		c.constraint(at("externalId", external), `Member must satisfy regular expression pattern: [\w+=,.@:\/-]*`)
	}
	k.state.mu.Lock()
	i := slices.IndexFunc(k.state.roles, func(r BedrockRole) bool { return r.ARN == arn })
	var role BedrockRole
	if i >= 0 {
		role = k.state.roles[i]
	}
	k.state.mu.Unlock()
	if i < 0 || role.ExternalID != "" && role.ExternalID != external {
		c.fail(bForbidden("AccessDenied", "User: arn:aws:iam::"+bAccount+":user/fake is not authorized to perform: sts:AssumeRole on resource: "+arn))
	}
	if c.cause != "" {
		k.refuse(x, c.problem, c.cause)
		return
	}
	lifetime := time.Duration(seconds) * time.Second
	if role.Lifetime > 0 {
		lifetime = role.Lifetime
	}
	x.media = []string{"text/xml"}
	x.normally(k.ops.next("AssumeRole"), func() (int, []byte) { return http.StatusOK, k.grant(role, session, lifetime) })
}

func cmpOr(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// grant makes new credentials for a role.
func (k *Bedrock) grant(role BedrockRole, session string, lifetime time.Duration) []byte {
	now := k.clock()
	id := strings.ToUpper(string(appendID(nil, "", k.nextID()))[2:18])
	cred := BedrockCredentials{AccessKeyID: "ASIA" + id, SecretAccessKey: k.newID("secret") + k.newID(""), SessionToken: k.newID("IQoJb3JpZ2lu") + "/+" + k.newID("") + "==", Expires: now.Add(lifetime)}
	k.state.mu.Lock()
	k.state.credentials = append(k.state.credentials, cred)
	k.state.mu.Unlock()
	arn := strings.Replace(strings.Replace(role.ARN, ":iam:", ":sts:", 1), ":role/", ":assumed-role/", 1) + "/" + session
	return []byte("<AssumeRoleResponse xmlns=\"" + stsNamespace + "\">\n  <AssumeRoleResult>\n    <AssumedRoleUser>\n      <AssumedRoleId>AROA" + id + ":" + xmlText(session) +
		"</AssumedRoleId>\n      <Arn>" + xmlText(arn) + "</Arn>\n    </AssumedRoleUser>\n    <Credentials>\n      <AccessKeyId>" + cred.AccessKeyID +
		"</AccessKeyId>\n      <SecretAccessKey>" + cred.SecretAccessKey + "</SecretAccessKey>\n      <SessionToken>" + cred.SessionToken +
		"</SessionToken>\n      <Expiration>" + cred.Expires.UTC().Format(time.RFC3339) + "</Expiration>\n    </Credentials>\n  </AssumeRoleResult>\n" +
		"  <ResponseMetadata>\n    <RequestId>" + uuid(k.nextID()) + "</RequestId>\n  </ResponseMetadata>\n</AssumeRoleResponse>\n")
}

func xmlText(s string) string {
	var b bytes.Buffer
	if xml.EscapeText(&b, []byte(s)) != nil {
		return ""
	}
	return b.String()
}
