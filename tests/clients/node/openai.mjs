// What the scripts with OpenAI's SDK share.
import * as sdk from 'openai';
import { args, reporter } from './report.mjs';

export { args };

export const client = new sdk.OpenAI({
  baseURL: process.env.BASE_URL + '/v1',
  apiKey: process.env.API_KEY,
  maxRetries: args.retries ?? 0,
});

export const report = reporter(sdk);

// weather is the one tool that is offered.
export const weather = {
  name: 'weather',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false },
};

// partial notes on an error how far the text had come.
export const partial = (e, text) => Object.assign(e, { message: `after ${JSON.stringify(text)}: ${e.message}` });
