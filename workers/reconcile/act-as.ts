import type { Requester } from "../matrix/http/client.ts";
import { MatrixFailure } from "../matrix/http/failure.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";

/**
 * Makes calls as a living person's account. Who logged all devices out ended ours too: it is made again, once, and the
 * calls repeated. Never for somebody who was deleted, since a device brings an account back to life.
 */
export async function actAs<T>(
  homeserver: Homeserver,
  matrixUserId: string,
  work: (request: Requester) => Promise<T>,
): Promise<T> {
  const request = await homeserver.as(matrixUserId);
  try {
    return await work(request);
  } catch (error) {
    if (!(error instanceof MatrixFailure && error.errcode === "M_UNKNOWN_DEVICE")) throw error;
  }
  await homeserver.ensureAccount(matrixUserId);
  return work(request);
}
