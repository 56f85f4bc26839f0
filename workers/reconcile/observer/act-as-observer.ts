import type { Homeserver } from "../../matrix/homeserver/homeserver.ts";
import type { Requester } from "../../matrix/http/client.ts";
import { MatrixFailure } from "../../matrix/http/failure.ts";

/**
 * Makes calls as a room's observer for one of its members. That the observer's account is suspended or locked is not the
 * member's failure: it fails as a refused credential of ours does, and the member and its messages wait.
 */
export async function actAsObserver(homeserver: Homeserver, observerMatrixId: string): Promise<Requester> {
  const request = await homeserver.as(observerMatrixId);
  return async (call) => {
    try {
      return await request(call);
    } catch (error) {
      if (!(error instanceof MatrixFailure && error.kind === "account")) throw error;
      const { errcode, httpStatus } = error;
      throw new MatrixFailure("auth", { errcode, httpStatus, cause: error });
    }
  };
}
