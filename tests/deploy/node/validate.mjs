// Validates template.yaml against the schemas of AWS, offline. It does not look deep into AWS::Serverless::* and cannot see
// policies, routes or variables: the Go tests beside it do.
import { readFileSync, writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RegoEngine, TemplateFile } from "@aws/cloudformation-validate";

// What is reported and is right as it is: rule, where, why.
const accepted = [
  ["F3033", "AdminKeySecret", "it tries the parameter's default, the empty text, in the branch that only a given key takes"],
  ["W1001", "AdminKeySecretArn", "the reference stands in an If with the same condition"],
  ["W1001", "MasterKeySecretArn", "likewise"],
];

const engine = new RegoEngine();
const problems = (file) => engine.validateStandard(new TemplateFile(file)).diagnostics.filter((d) => d.severity !== "INFO");
const known = (d) => accepted.find(([rule, id]) => rule === d.ruleId && id === d.entity?.logicalId);

const file = process.argv[2];
let failed = 0;
const found = problems(file);
for (const d of found.filter((d) => !known(d))) {
  console.error(`${file}:${d.startLine}: ${d.severity} ${d.ruleId} ${d.entity?.logicalId ?? ""} ${d.propertyPath ?? ""}: ${d.message}`);
  failed++;
}
for (const a of accepted.filter(([rule, id]) => !found.some((d) => d.ruleId === rule && d.entity?.logicalId === id))) {
  console.error(`${a[0]} of ${a[1]} is accepted and no longer reported: remove it from validate.mjs`);
  failed++;
}

// The validator must see: each of these mistakes has to be reported.
const text = readFileSync(file, "utf8");
const dir = mkdtempSync(join(tmpdir(), "validate-"));
const mistakes = [
  ["an unknown property", "      BillingMode: PAY_PER_REQUEST\n", "      BillingModus: PAY_PER_REQUEST\n"],
  ["a reference to nothing", "!GetAtt ProxyFunction.Arn", "!GetAtt ProxyFunktion.Arn"],
  ["a value that is none", "InvokeMode: RESPONSE_STREAM", "InvokeMode: STREAM"],
  ["a missing property", "      AliasName: ", "      # AliasName: "],
];
for (const [what, from, to] of mistakes) {
  const broken = join(dir, "template.yaml");
  if (!text.includes(from)) throw new Error(`template.yaml has no ${JSON.stringify(from)} any more`);
  writeFileSync(broken, text.replace(from, to));
  if (problems(broken).length <= found.length) {
    console.error(`the validator does not see ${what} (${to.trim()})`);
    failed++;
  }
}
rmSync(dir, { recursive: true });
engine.free();
if (failed) process.exit(1);
console.log(`template.yaml is valid (${found.length} accepted remarks, ${mistakes.length} deliberate mistakes seen)`);
