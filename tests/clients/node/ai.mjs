// What the scripts with the AI SDK share.
import * as ai from 'ai';
import { createBedrockAnthropic } from '@ai-sdk/amazon-bedrock/anthropic';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { args, reporter } from './report.mjs';

export { ai, args };

globalThis.AI_SDK_LOG_WARNINGS = false; // they go to standard output

const options = { baseURL: process.env.BASE_URL + '/v1', apiKey: process.env.API_KEY };

const providers = {
  chat: () => createOpenAI(options).chat(args.model),
  responses: () => createOpenAI(options).responses(args.model),
  anthropic: () => createAnthropic(options)(args.model),
  bedrock: () => createBedrockAnthropic({ baseURL: process.env.BASE_URL + '/bedrock', apiKey: process.env.API_KEY, region: 'us-east-1' })(args.model),
  compatible: () =>
    createOpenAICompatible({ ...options, name: 'gateway', includeUsage: true, supportsStructuredOutputs: true })(args.model),
};

export const model = providers[args.provider]();

export const report = reporter(ai);

// run makes one text through generateText or streamText and waits for all of it.
export async function run(settings) {
  const all = { model, maxRetries: args.retries ?? 0, ...settings };
  if (!args.stream) return ai.generateText(all);
  let failure;
  const result = ai.streamText({ ...all, onError: ({ error }) => (failure ??= error) });
  let text = '';
  try {
    for await (const delta of result.textStream) text += delta;
    if (failure) throw failure;
    const [steps, usage, finishReason, whole] = await Promise.all([result.steps, result.totalUsage, result.finishReason, result.text]);
    return { text: whole, deltas: text, steps, totalUsage: usage, finishReason, output: settings.output && (await result.output) };
  } catch (e) {
    throw Object.assign(failure ?? e, { message: `after ${JSON.stringify(text)}: ${(failure ?? e).message ?? JSON.stringify(failure)}` });
  }
}

export const read = (result) => ({
  text: result.text,
  stop: result.finishReason,
  steps: result.steps.length,
  usage: {
    prompt_tokens: result.totalUsage.inputTokens,
    completion_tokens: result.totalUsage.outputTokens,
    prompt_tokens_details: { cached_tokens: result.totalUsage.inputTokenDetails?.cacheReadTokens },
  },
});
