import type { Requester } from "../matrix/http/client.ts";
import { MatrixFailure } from "../matrix/http/failure.ts";
import type { Homeserver } from "../matrix/homeserver/homeserver.ts";

/**
 * Makes calls as a user's account. When the user has logged all devices out, our device is gone too: it is created again,
 * once, and the calls are repeated. Never call it for a deleted user: a new device reactivates the account.
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
