// The life of a file.
import { args, client, report, toFile } from './lib.mjs';

report(async () => {
  const made = await client.files.upload({ file: await toFile(Buffer.from(args.content), 'notes.txt', { type: 'text/plain' }) });
  const meta = await client.files.retrieveMetadata(made.id);
  const content = await (await client.files.download(made.id)).text();
  const gone = await client.files.delete(made.id);
  return { name: meta.filename, content, gone: gone.type };
});
