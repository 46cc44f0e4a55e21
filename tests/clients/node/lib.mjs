// What the scripts with Anthropic's SDK share.
import * as sdk from '@anthropic-ai/sdk';
import { args, reporter } from './report.mjs';

export { args };

export const toFile = sdk.toFile;

export const client = new sdk.Anthropic({
  baseURL: process.env.BASE_URL,
  apiKey: process.env.API_KEY ?? null,
  authToken: process.env.AUTH_TOKEN ?? null,
  maxRetries: args.retries ?? 0,
});

export const text = (message) => message.content.map((block) => block.text ?? '').join('');

export const report = reporter(sdk);
