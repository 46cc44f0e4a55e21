package importer_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/importer"
)

const (
	refresh1 = "aorAAAAA-first-refresh-token"
	refresh2 = "aorAAAAA-second-refresh-token"
	client1  = "client-id-one"
	secret1  = "eyJ.client-secret.one"
	apiKey1  = "ksk_abcdefgh12345678"
	arn1     = "arn:aws:codewhisperer:eu-central-1:123456789012:profile/ABCDEFGHIJKL"
)

// login is an account as a test expects it.
func login(where, name, refresh string) importer.PoolAccount {
	return importer.PoolAccount{Where: where, Name: name, RefreshToken: core.NewSecret(refresh), ClientID: client1, ClientSecret: core.NewSecret(secret1)}
}

func with(a importer.PoolAccount, edit func(*importer.PoolAccount)) importer.PoolAccount {
	edit(&a)
	return a
}

// TestParseAccounts: the forms that people have accounts in.
func TestParseAccounts(t *testing.T) {
	camel := fmt.Sprintf(`{"clientId":%q,"clientSecret":%q,"refreshToken":%q,"accessToken":"aoaX","region":"eu-west-1","expiresAt":"2026-01-01T00:00:00Z"}`, client1, secret1, refresh1)
	snake := fmt.Sprintf(`{"name":"two","client_id":%q,"client_secret":%q,"refresh_token":%q,"profile_arn":%q,"requests_per_minute":20,"notes":"mine","start_url":"https://d-1.awsapps.com/start#/"}`, client1, secret1, refresh2, arn1)
	one := with(login("item 1", "", refresh1), func(a *importer.PoolAccount) { a.Region = "eu-west-1" })
	two := with(login("item 2", "two", refresh2), func(a *importer.PoolAccount) {
		a.Profile, a.RPM, a.Notes, a.StartURL = arn1, 20, "mine", "https://d-1.awsapps.com/start"
	})
	key := importer.PoolAccount{Where: "line 1", APIKey: core.NewSecret(apiKey1), API: "kiro"}
	for _, c := range []struct {
		why, text string
		want      []importer.PoolAccount
		skipped   []string // What: Why, in part
	}{
		{"one object, as AWS writes it", camel, []importer.PoolAccount{one}, nil},
		{"an array of both spellings, with a BOM", "\ufeff [" + camel + ",\n" + snake + "]\n", []importer.PoolAccount{one, two}, nil},
		{"objects one after the other", camel + "\n" + snake, []importer.PoolAccount{one, two}, nil},
		{"a region in the place of the profile, as the older system kept it", strings.Replace(camel, `"region":`, `"profileArn":`, 1), []importer.PoolAccount{one}, nil},
		{"the fork's export", fmt.Sprintf(`[{"label":"l","clientId":%q,"clientSecret":%q,"refreshToken":%q,"type":"amazonq","enabled":0,"other":{"a":1}},{"label":"g","type":"gemini","refreshToken":"1//x"}]`, client1, secret1, refresh1),
			[]importer.PoolAccount{with(login("item 1", "l", refresh1), func(a *importer.PoolAccount) { a.Disabled = true })}, []string{"item 2: it is a Gemini account"}},
		{"an API key in JSON", `{"name":"k","apiKey":"` + apiKey1 + `"}`, []importer.PoolAccount{with(key, func(a *importer.PoolAccount) { a.Where, a.Name = "item 1", "k" })}, nil},
		{"what cannot be used of an account that can", fmt.Sprintf(`{"clientId":%q,"clientSecret":%q,"refreshToken":%q,"region":"http://evil/","profileArn":"arn:aws:codewhisperer:evil.example.com/:123456789012:profile/X","startUrl":"http://x","requestsPerMinute":"many","name":"a\nb"}`, client1, secret1, refresh1),
			[]importer.PoolAccount{login("item 1", "a b", refresh1)}, []string{"requests per minute of item 1: ", "region of item 1: ", "profile of item 1: ", "start URL of item 1: "}},
		{"what is no account", `[1, "` + refresh1 + `", null, {}, {"clientId":{}}, {"clientId":"` + client1 + `","refreshToken":"a b"}, {"authMethod":"social","refreshToken":"x"}]`, nil,
			[]string{"item 1: it is no object", "item 2: it is no object", "item 3: it is no object", "item 4: it has no refreshToken and no clientId and no clientSecret",
				"item 5: its clientId is no text", "item 6: its refreshToken is longer than", "item 7: it is a login with Google or GitHub"}},
		{"the same account twice", "[" + camel + "," + camel + "]", []importer.PoolAccount{one}, []string{"item 2: it is the same account as item 1"}},

		{"lines with an address and a password", "me@example.com|hunter2|" + client1 + "|" + secret1 + "|" + refresh1 + "|aoaX\n\n# more\nyou@example.com|hunter2|" + client1 + "|" + secret1 + "|" + refresh2,
			[]importer.PoolAccount{login("line 1", "me@example.com", refresh1), login("line 4", "you@example.com", refresh2)}, nil},
		{"lines with a label, short and long", "l1|" + client1 + "|" + secret1 + "|" + refresh1 + "\r\nl2|" + client1 + "|" + secret1 + "|" + refresh2 + "|aoaX|project|https://example.com\r\n",
			[]importer.PoolAccount{login("line 1", "l1", refresh1), login("line 2", "l2", refresh2)}, nil},
		{"an address as the label", "me@example.com|" + client1 + "|" + secret1 + "|" + refresh1 + "|aoaX|", []importer.PoolAccount{login("line 1", "me@example.com", refresh1)}, nil},
		{"tokens without AWS's mark", "me@example.com|pw|" + client1 + "|" + secret1 + "|r1|a1\nl2|" + client1 + "|" + secret1 + "|r2|a2",
			[]importer.PoolAccount{login("line 1", "me@example.com", "r1"), login("line 2", "l2", "r2")}, nil},
		{"lines with the type", "amazonq|l1|" + client1 + "|" + secret1 + "|" + refresh1 + "\nGemini|g|id|GOCSPX-x|1//r|a|project|\ngemini|g", []importer.PoolAccount{login("line 1", "l1", refresh1)},
			[]string{"line 2: it is a Gemini account", "line 3: it is a Gemini account"}},
		{"a Gemini line without the type", "g|1-x.apps.googleusercontent.com|s|r|a|p|e", nil, []string{"line 1: it is a Gemini account"}},
		{"lines of nothing", "hello\na|b|c\na|b||" + refresh1 + "\na|b|c|d|e|f|g|h", nil,
			[]string{"line 1: it is neither", "line 2: it has too few", "line 3: it has no clientSecret", "line 4: it has too few or too many"}},

		{"Kiro API keys", apiKey1 + "\nmine|ksk_second-key-9876\nksk_x\n" + apiKey1,
			[]importer.PoolAccount{key, {Where: "line 2", Name: "mine", APIKey: core.NewSecret("ksk_second-key-9876"), API: "kiro"}},
			[]string{"line 3: its API key does not have the form", "line 4: it is the same account as line 1"}},

		{"an .env of the first version", "# mine\nPORT=8080\nexport AMAZONQ_REFRESH_TOKEN=\"" + refresh1 + "\"  # secret\nAMAZONQ_CLIENT_ID='" + client1 + "'\nAMAZONQ_CLIENT_SECRET = " + secret1 + " # x\nAMAZONQ_PROFILE_ARN=\nREDIS_HOST=localhost",
			[]importer.PoolAccount{login("AMAZONQ_REFRESH_TOKEN (line 3)", "", refresh1)}, nil},
		{"an .env with numbers", "AMAZONQ_ACCOUNT_COUNT=2\nAMAZONQ_ACCOUNT_2_REFRESH_TOKEN=" + refresh2 + "\nAMAZONQ_ACCOUNT_2_CLIENT_ID=" + client1 + "\nAMAZONQ_ACCOUNT_2_CLIENT_SECRET=" + secret1 + "\nAMAZONQ_ACCOUNT_2_ENABLED=false\nAMAZONQ_ACCOUNT_2_WEIGHT=5\n" +
			"AMAZONQ_ACCOUNT_1_ID=first\nAMAZONQ_ACCOUNT_1_REFRESH_TOKEN=" + refresh1 + "\nAMAZONQ_ACCOUNT_1_CLIENT_ID=" + client1 + "\nAMAZONQ_ACCOUNT_1_CLIENT_SECRET=" + secret1 + "\nAMAZONQ_ACCOUNT_1_PROFILE_ARN=" + arn1 + "\nAMAZONQ_ACCOUNT_3_ID=empty\n",
			[]importer.PoolAccount{with(login("AMAZONQ_ACCOUNT_1 (line 7)", "first", refresh1), func(a *importer.PoolAccount) { a.Profile = arn1 }),
				with(login("AMAZONQ_ACCOUNT_2 (line 2)", "", refresh2), func(a *importer.PoolAccount) { a.Disabled = true })}, []string{"weight of AMAZONQ_ACCOUNT_2"}},
		{"an .env with too little", "AMAZONQ_REFRESH_TOKEN=" + refresh1, nil, []string{"AMAZONQ_REFRESH_TOKEN (line 1): it has no clientId and no clientSecret"}},
		{"the key of a Kiro client", "KIRO_API_KEY=" + apiKey1, []importer.PoolAccount{with(key, func(a *importer.PoolAccount) { a.Where = "KIRO_API_KEY (line 1)" })}, nil},
	} {
		got, skipped, err := importer.ParseAccounts([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got %s\nwant %s", c.why, reveal(got), reveal(c.want))
		}
		if len(skipped) != len(c.skipped) {
			t.Errorf("%s: skipped %v, want %q", c.why, skipped, c.skipped)
			continue
		}
		for i, s := range skipped {
			line := s.What + ": " + s.Why
			if !strings.HasPrefix(line, c.skipped[i]) {
				t.Errorf("%s: skipped %q, want %q", c.why, line, c.skipped[i])
			}
			for _, secret := range []string{refresh1, refresh2, secret1, "hunter2", "GOCSPX-x", apiKey1} {
				if strings.Contains(line, secret) {
					t.Errorf("%s: %q shows a secret", c.why, line)
				}
			}
		}
	}
}

func reveal(as []importer.PoolAccount) string {
	var b strings.Builder
	for _, a := range as {
		fmt.Fprintf(&b, "\n  %+v refresh=%s secret=%s key=%s", a, a.RefreshToken.Reveal(), a.ClientSecret.Reveal(), a.APIKey.Reveal())
	}
	return b.String()
}

// TestParseAccountsRefuses: texts of which nothing is taken.
func TestParseAccountsRefuses(t *testing.T) {
	line := func(n int) string { return fmt.Sprintf("ksk_key-number-%d\n", n) }
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(i))
		}
		return b.String()
	}
	array := func(n int) string {
		return "[" + strings.TrimSuffix(strings.ReplaceAll(strings.ReplaceAll(many(n), "ksk_", `{"apiKey":"ksk_`), "\n", `"},`), ",") + "]"
	}
	for _, c := range []struct {
		why, text string
		want      error  // nil: any
		says      string // of the error
	}{
		{"nothing", " \n\t", importer.ErrNoAccounts, "AMAZONQ_REFRESH_TOKEN"},
		{"an .env without accounts", "PORT=8080\n", importer.ErrNoAccounts, ""},
		{"an empty array", "[]", importer.ErrNoAccounts, ""},
		{"too long", strings.Repeat(" ", importer.MaxAccountsText+1), importer.ErrTooLarge, "1 MiB"},
		{"one more than may be", many(importer.MaxAccounts + 1), importer.ErrTooMany, "1000"},
		{"the same in JSON", array(importer.MaxAccounts + 1), importer.ErrTooMany, ""},
		{"cut JSON", `[{"refreshToken":"` + refresh1 + `"}, {"refreshToken":"` + refresh2, nil, "no JSON after byte"},
		{"JSON and more", `{"apiKey":"` + apiKey1 + `"} ` + refresh1, nil, "no JSON after byte"},
		{"a bracket too many", `[{"apiKey":"` + apiKey1 + `"}]]`, nil, "no JSON after byte"},
		{"very deep JSON", strings.Repeat("[", 100_000), nil, "no JSON after byte"},
		{"UTF-16", "\xff\xfek\x00s\x00k\x00", nil, "UTF-8"},
	} {
		got, skipped, err := importer.ParseAccounts([]byte(c.text))
		if err == nil || got != nil || skipped != nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %d accounts, %d skipped, %v", c.why, len(got), len(skipped), err)
		} else if strings.Contains(err.Error(), "aorAAAAA") {
			t.Errorf("%s: the error shows a secret: %v", c.why, err)
		}
	}
	if got, _, err := importer.ParseAccounts([]byte(many(importer.MaxAccounts))); err != nil || len(got) != importer.MaxAccounts {
		t.Errorf("as many as may be: %d, %v", len(got), err)
	}
	if _, skipped, err := importer.ParseAccounts([]byte(strings.Repeat("x\n", 5000))); err != nil || len(skipped) != 1001 || skipped[1000].What != "4000 more" {
		t.Errorf("many skips: %d, %v", len(skipped), err)
	}
}

// TestPoolAccountCredential: what is sealed for a node.
func TestPoolAccountCredential(t *testing.T) {
	a := login("", "", refresh1)
	a.Region = "eu-west-1"
	want := `{"refresh_token":"` + refresh1 + `","client_id":"` + client1 + `","client_secret":"` + secret1 + `","region":"eu-west-1"}`
	if got := a.Credential().Reveal(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	k := importer.PoolAccount{APIKey: core.NewSecret(apiKey1)}
	if k.Credential().Reveal() != apiKey1 || k.Identity().Reveal() != apiKey1 || a.Identity().Reveal() != refresh1 {
		t.Error("a credential or identity is another")
	}
	if out, err := json.Marshal(a); err != nil || strings.Contains(string(out), refresh1) || strings.Contains(fmt.Sprintf("%+v", a), secret1) {
		t.Errorf("an account shows its secrets: %s, %v", out, err)
	}
}

// FuzzParseAccounts: whatever the text, there is no panic, what is taken can be used, and no reason shows a value.
func FuzzParseAccounts(f *testing.F) {
	for _, s := range []string{"", "[", `[{"clientId":"a","clientSecret":"b","refreshToken":"c"}]`, "a|b|c|d", "kiro|", "amazonq||", "|", "AMAZONQ_ACCOUNT_9_ID=x\nAMAZONQ_ACCOUNT_9_REFRESH_TOKEN='", "ksk_12345678", "KIRO_API_KEY=#"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		as, skipped, err := importer.ParseAccounts(text)
		if err != nil && (as != nil || skipped != nil) {
			t.Error("an error with accounts")
		}
		for _, a := range as {
			if a.Credential().IsZero() || a.Identity().IsZero() || a.Where == "" || len(a.Name) > 100 || strings.ContainsAny(a.Name, "\n\r\x00") {
				t.Errorf("account %+v", a)
			}
			for _, s := range skipped {
				if id := a.Identity().Reveal(); len(id) > 12 && strings.Contains(s.What+s.Why, id) {
					t.Errorf("a reason shows a secret: %v", s)
				}
			}
		}
	})
}
