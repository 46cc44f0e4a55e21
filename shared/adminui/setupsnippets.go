package adminui

import "strings"

// snippets are what clients need, in the order of the page. tests/clients drives the clients with the same settings.
func snippets(c client) []setupGroup {
	settings, config := settingsJSON(c), fill(codexConfig, c)
	cursor := c
	cursor.Model = strings.TrimPrefix(c.Model, "claude-") // it sends names with "claude" elsewhere; the gateway knows the rest of one
	bed := c
	bed.Model, bed.Small = bedrockID(c.Model), bedrockID(c.Small)
	return []setupGroup{
		{"claude", "setup.claude", "setup.claude.text", []snippet{
			{"claude-file", "settings.json", "~/.claude/settings.json", "settings.json", settings},
			{"claude-unix", "setup.unix", "", "", fill(claudeUnix, c) + settings + "JSON\nchmod 600 ~/.claude/settings.json\n"},
			{"claude-windows", "setup.windows", "", "", claudeWindows + settings + "'@)\n"},
			{"claude-once", "setup.once", "", "", fill(claudeOnce, c)},
		}},
		{"codex", "setup.codex", "setup.codex.text", []snippet{
			{"codex-file", "config.toml", "~/.codex/config.toml", "config.toml", config},
			{"codex-unix", "setup.unix", "", "", codexUnix + config + "TOML\n" + fill(codexUnixKey, c)},
			{"codex-windows", "setup.windows", "", "", codexWindows + config + "'@)\n" + fill(codexWindowsKey, c)},
		}},
		{"cursor", "setup.cursor", "setup.cursor.text", []snippet{
			{"cursor-url", "setup.cursor.url", "", "", c.URL + "/v1"},
			{"cursor-key", "setup.cursor.key", "", "", keyPlace},
			{"cursor-model", "setup.cursor.model", "", "", cursor.Model},
		}},
		{"anthropic", "setup.anthropic", "setup.anthropic.text", []snippet{
			{"anthropic-python", "setup.python", "", "anthropic_hello.py", fill(anthropicPython, c)},
			{"anthropic-ts", "setup.typescript", "", "anthropic-hello.ts", fill(anthropicTS, c)},
			{"anthropic-go", "setup.go", "", "anthropic_hello.go", fill(anthropicGo, c)},
			{"anthropic-curl", "setup.curl", "", "", fill(anthropicCurl, c)},
		}},
		{"openai", "setup.openai", "setup.openai.text", []snippet{
			{"openai-python", "setup.python", "", "openai_hello.py", fill(openaiPython, c)},
			{"openai-ts", "setup.typescript", "", "openai-hello.ts", fill(openaiTS, c)},
			{"openai-go", "setup.go", "", "openai_hello.go", fill(openaiGo, c)},
			{"openai-curl", "setup.curl", "", "", fill(openaiCurl, c)},
		}},
		{"bedrock", "setup.bedrock", "setup.bedrock.text", []snippet{
			{"bedrock-claude", "setup.claude", "", "", bedrockClaude(bed)},
			{"bedrock-curl", "setup.curl", "", "", fill(bedrockCurl, bed)},
		}},
	}
}

// bedrockID is what Bedrock calls a model of Anthropic's. The profile "global." has no region of its own, so nodes of every
// kind serve it.
func bedrockID(model string) string {
	if strings.HasPrefix(model, "claude-") {
		return "global.anthropic." + model
	}
	return model
}

func bedrockClaude(c client) string {
	small := ""
	if c.Small != "" {
		small = "export ANTHROPIC_DEFAULT_HAIKU_MODEL=\"" + c.Small + "\"\n"
	}
	return fill(bedrockEnv, c) + small + fill(bedrockRun, c)
}

// fill puts the address and the model where they stand in a text. Both have been checked: none can end the quotes around it.
func fill(text string, c client) string {
	return strings.NewReplacer("{{URL}}", c.URL, "{{MODEL}}", c.Model, "{{KEY}}", keyPlace).Replace(text)
}

const (
	claudeUnix = `mkdir -p ~/.claude
[ ! -e ~/.claude/settings.json ] || cp ~/.claude/settings.json ~/.claude/settings.json.bak
cat > ~/.claude/settings.json <<'JSON'
`
	claudeWindows = `$dir = "$HOME\.claude"
New-Item -ItemType Directory -Force $dir | Out-Null
if (Test-Path "$dir\settings.json") { Copy-Item "$dir\settings.json" "$dir\settings.json.bak" -Force }
[IO.File]::WriteAllText("$dir\settings.json", @'
`
	claudeOnce = `export ANTHROPIC_BASE_URL="{{URL}}"
export ANTHROPIC_AUTH_TOKEN="{{KEY}}"
claude --model "{{MODEL}}" -p "Say hello"
`
	codexConfig = `model = "{{MODEL}}"
model_provider = "sluice"

[model_providers.sluice]
name = "sluice"
base_url = "{{URL}}/v1"
env_key = "SLUICE_KEY"
wire_api = "responses"
`
	codexUnix = `mkdir -p ~/.codex
[ ! -e ~/.codex/config.toml ] || cp ~/.codex/config.toml ~/.codex/config.toml.bak
cat > ~/.codex/config.toml <<'TOML'
`
	codexUnixKey = `export SLUICE_KEY="{{KEY}}"
codex exec --skip-git-repo-check "Say hello"
`
	codexWindows = `$dir = "$HOME\.codex"
New-Item -ItemType Directory -Force $dir | Out-Null
if (Test-Path "$dir\config.toml") { Copy-Item "$dir\config.toml" "$dir\config.toml.bak" -Force }
[IO.File]::WriteAllText("$dir\config.toml", @'
`
	codexWindowsKey = `setx SLUICE_KEY "{{KEY}}"
$env:SLUICE_KEY = "{{KEY}}"
codex exec --skip-git-repo-check "Say hello"
`
	anthropicPython = `import anthropic

client = anthropic.Anthropic(base_url="{{URL}}", api_key="{{KEY}}")
message = client.messages.create(
    model="{{MODEL}}",
    max_tokens=1024,
    messages=[{"role": "user", "content": "Say hello"}],
)
print(message.content[0].text)
`
	anthropicTS = `import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: "{{URL}}", apiKey: "{{KEY}}" });
const message = await client.messages.create({
  model: "{{MODEL}}",
  max_tokens: 1024,
  messages: [{ role: "user", content: "Say hello" }],
});
console.log(message.content);
`
	anthropicGo = `package main

import (
	"context"
	"fmt"
	"log"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
)

func main() {
	client := anthropic.NewClient(option.WithBaseURL("{{URL}}"), option.WithAPIKey("{{KEY}}"))
	message, err := client.Messages.New(context.Background(), anthropic.MessageNewParams{
		Model:     "{{MODEL}}",
		MaxTokens: 1024,
		Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("Say hello"))},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(message.Content[0].Text)
}
`
	anthropicCurl = `curl "{{URL}}/v1/messages" \
  -H "x-api-key: {{KEY}}" \
  -H "anthropic-version: 2023-06-01" \
  -H "content-type: application/json" \
  -d '{"model": "{{MODEL}}", "max_tokens": 1024, "messages": [{"role": "user", "content": "Say hello"}]}'
`
	openaiPython = `import openai

client = openai.OpenAI(base_url="{{URL}}/v1", api_key="{{KEY}}")
answer = client.chat.completions.create(
    model="{{MODEL}}",
    messages=[{"role": "user", "content": "Say hello"}],
)
print(answer.choices[0].message.content)
`
	openaiTS = `import OpenAI from "openai";

const client = new OpenAI({ baseURL: "{{URL}}/v1", apiKey: "{{KEY}}" });
const answer = await client.chat.completions.create({
  model: "{{MODEL}}",
  messages: [{ role: "user", content: "Say hello" }],
});
console.log(answer.choices[0].message.content);
`
	openaiGo = `package main

import (
	"context"
	"fmt"
	"log"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

func main() {
	client := openai.NewClient(option.WithBaseURL("{{URL}}/v1"), option.WithAPIKey("{{KEY}}"))
	answer, err := client.Chat.Completions.New(context.Background(), openai.ChatCompletionNewParams{
		Model:    "{{MODEL}}",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Say hello")},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Choices[0].Message.Content)
}
`
	bedrockEnv = `export CLAUDE_CODE_USE_BEDROCK=1 CLAUDE_CODE_SKIP_BEDROCK_AUTH=1 AWS_REGION=us-east-1
export ANTHROPIC_BEDROCK_BASE_URL="{{URL}}/bedrock"
export ANTHROPIC_AUTH_TOKEN="{{KEY}}"
`
	bedrockRun = `claude --model "{{MODEL}}" -p "Say hello"
`
	bedrockCurl = `curl "{{URL}}/bedrock/model/{{MODEL}}/invoke" \
  -H "Authorization: Bearer {{KEY}}" \
  -H "Content-Type: application/json" \
  -d '{"anthropic_version": "bedrock-2023-05-31", "max_tokens": 1024, "messages": [{"role": "user", "content": "Say hello"}]}'
`
	openaiCurl = `curl "{{URL}}/v1/chat/completions" \
  -H "Authorization: Bearer {{KEY}}" \
  -H "Content-Type: application/json" \
  -d '{"model": "{{MODEL}}", "messages": [{"role": "user", "content": "Say hello"}]}'
`
)
