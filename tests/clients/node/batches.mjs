// The life of a batch. The SDK takes the results from the URL that the batch names.
import { args, client, report, text } from './lib.mjs';

report(async () => {
  const batches = client.messages.batches;
  const params = { model: args.model, max_tokens: 16, messages: [{ role: 'user', content: 'batched' }] };
  const made = await batches.create({ requests: [{ custom_id: 'one', params }, { custom_id: 'two', params }] });
  const batch = await batches.retrieve(made.id);
  const listed = [];
  for await (const b of batches.list()) listed.push(b.id);
  const results = {};
  for await (const line of await batches.results(made.id)) results[line.custom_id] = text(line.result.message);
  const gone = await batches.delete(made.id);
  return { id: made.id, status: batch.processing_status, results_url: batch.results_url, listed, results, gone: gone.type };
});
