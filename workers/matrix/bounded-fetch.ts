/** An answer that is larger than anybody agreed to read. */
export class ResponseTooLarge extends Error {}

/**
 * A fetch whose signal and size limit cover the body too: the SDK's own limits end with the headers, and a body that
 * stalls would hang for minutes.
 */
export function createBoundedFetch(options: { maxResponseBytes: number }): typeof globalThis.fetch {
  return async (resource, init) => {
    const response = await fetch(resource, init);
    const body = await readBody(response, options.maxResponseBytes);
    // A Response with these statuses may not have a body.
    const isEmpty = response.status === 204 || response.status === 205 || response.status === 304;
    return new Response(isEmpty ? null : body, { status: response.status, headers: response.headers });
  };
}

async function readBody(response: Response, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const announced = Number(response.headers.get("content-length") ?? 0);
  if (announced > maxBytes) {
    await response.body?.cancel();
    throw new ResponseTooLarge(`${String(announced)} bytes announced, ${String(maxBytes)} allowed`);
  }
  if (announced > 0) return new Uint8Array(await response.arrayBuffer());
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  const reader: ReadableStreamDefaultReader<Uint8Array> | undefined = response.body?.getReader();
  for (;;) {
    const part = await reader?.read();
    if (!part || part.done) break;
    bytes += part.value.length;
    if (bytes > maxBytes) {
      await reader?.cancel();
      throw new ResponseTooLarge(`more than ${String(maxBytes)} bytes`);
    }
    chunks.push(part.value);
  }
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
