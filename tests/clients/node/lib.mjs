// What the scripts beside this file share. Each does one thing with the SDK and prints one line of JSON:
// {"ok": ...} or {"error": {...}}. BASE_URL and either API_KEY or AUTH_TOKEN come from the environment, everything else
// from one JSON argument.
import * as sdk from '@anthropic-ai/sdk';

export const args = JSON.parse(process.argv[2] ?? '{}');

export const toFile = sdk.toFile;

export const client = new sdk.Anthropic({
  baseURL: process.env.BASE_URL,
  apiKey: process.env.API_KEY ?? null,
  authToken: process.env.AUTH_TOKEN ?? null,
  maxRetries: args.retries ?? 0,
});

export const text = (message) => message.content.map((block) => block.text ?? '').join('');

export async function report(work) {
  let out;
  try {
    out = { ok: await work() };
  } catch (e) {
    const classes = Object.keys(sdk).filter((name) => name.endsWith('Error') && e instanceof sdk[name]);
    out = { error: { classes, status: e.status, type: e.type, request_id: e.requestID, message: String(e.message ?? e) } };
  }
  process.stdout.write(JSON.stringify(out) + '\n');
}
