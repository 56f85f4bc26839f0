import { AppError } from "../../../shared/contract/errors.ts";

export { requireReadAccess, requireReader, type Reader } from "../../auth/require-read-access.ts";

export const tag = "messages";
export const listPath = "/v1/rooms/{kind}/{slug}/messages";

/** Of a room whose history on Matrix is being read: what is posted now would stand before it. */
export function adoptingError(): AppError {
  return new AppError(
    "unavailable",
    "The room's earlier messages are being taken over. It takes messages when that is done.",
    {
      retryAfterMs: 5_000,
    },
  );
}
