import { execute, rowsOf, type Db } from "../connection/open.ts";
import { seal, unseal, type SealKey } from "../../platform/seal.ts";

/** A device-bound token of an account of ours. */
export type Credential = { deviceId: string; accessToken: string };

/** Null when the account has none. @throws when the key that it is sealed with is not among the seal keys. */
export async function findCredential(
  db: Db,
  sealKeys: readonly SealKey[],
  homeserverId: string,
  matrixUserId: string,
): Promise<Credential | null> {
  const rows = await rowsOf<{ device_id: string; sealed_token: string }>(
    db,
    "select device_id, sealed_token from credentials where homeserver_id = ? and matrix_user_id = ?",
    [homeserverId, matrixUserId],
  );
  const row = rows[0];
  if (!row) return null;
  const accessToken = unseal(sealKeys, sealContext(homeserverId, matrixUserId), row.sealed_token);
  return { deviceId: row.device_id, accessToken };
}

/** Saves an account's token, sealed. It replaces an older one. */
export async function saveCredential(
  db: Db,
  sealKeys: readonly SealKey[],
  homeserverId: string,
  matrixUserId: string,
  credential: Credential,
): Promise<void> {
  const sealed = seal(sealKeys, sealContext(homeserverId, matrixUserId), credential.accessToken);
  await execute(
    db,
    `insert into credentials (matrix_user_id, homeserver_id, device_id, sealed_token) values (?, ?, ?, ?)
     on conflict (matrix_user_id) do update set device_id = excluded.device_id, sealed_token = excluded.sealed_token, updated_at = now()`,
    [matrixUserId, homeserverId, credential.deviceId, sealed],
  );
}

export async function deleteCredential(db: Db, homeserverId: string, matrixUserId: string): Promise<void> {
  await execute(db, "delete from credentials where homeserver_id = ? and matrix_user_id = ?", [
    homeserverId,
    matrixUserId,
  ]);
}

function sealContext(homeserverId: string, matrixUserId: string): { tenant: string; row: string } {
  return { tenant: homeserverId, row: matrixUserId };
}

const RESEALED_AT_ONCE = 500;

/** Seals every account's token with the first key. Returns how many were sealed with another key. */
export async function resealCredentials(db: Db, sealKeys: readonly SealKey[]): Promise<number> {
  const first = sealKeys[0]?.id ?? "";
  for (let count = 0; ;) {
    const rows = await rowsOf<{ homeserver_id: string; matrix_user_id: string; sealed_token: string }>(
      db,
      `select homeserver_id, matrix_user_id, sealed_token from credentials
        where not starts_with(sealed_token, ?) limit ?`,
      [`${first}.`, RESEALED_AT_ONCE],
    );
    if (rows.length === 0) return count;
    for (const row of rows) {
      const context = sealContext(row.homeserver_id, row.matrix_user_id);
      const sealed = seal(sealKeys, context, unseal(sealKeys, context, row.sealed_token));
      await execute(
        db,
        "update credentials set sealed_token = ? where matrix_user_id = ? and sealed_token = ?",
        [sealed, row.matrix_user_id, row.sealed_token],
      );
    }
    count += rows.length;
  }
}
