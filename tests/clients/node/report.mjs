// What all scripts of this folder share. Each does one thing with a client and prints one line of JSON: {"ok": ...} or
// {"error": {...}}. BASE_URL and either API_KEY or AUTH_TOKEN come from the environment, everything else from one JSON
// argument.
export const args = JSON.parse(process.argv[2] ?? '{}');

// reporter makes the function that runs a script's work. sdk is the module whose error classes are told apart.
export const reporter = (sdk) => async (work) => {
  let out;
  try {
    out = { ok: await work() };
  } catch (e) {
    const classes = Object.keys(sdk).filter((name) => name.endsWith('Error') && sdk[name].prototype && e instanceof sdk[name]);
    out = {
      error: {
        classes,
        status: e.status ?? e.statusCode,
        type: e.type,
        code: e.code,
        request_id: e.requestID,
        message: String(e.message ?? e),
      },
    };
  }
  process.stdout.write(JSON.stringify(out) + '\n');
};
