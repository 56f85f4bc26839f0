import { createHmac, randomBytes } from "node:crypto";
import { z } from "zod";
import type { Connect, Requester } from "../http/client.ts";
import { unlessConflict } from "../http/failure.ts";
import { localpartOf } from "./homeserver.ts";

const tokenResponse = z.object({ access_token: z.string(), device_id: z.string() });
const nonceResponse = z.object({ nonce: z.string() });

export type RegistrationAccess = { connect: Connect; serverName: string; registrationSecret: string };

/** The password of an account of ours. It is derived, so that a login works after a registration whose response was lost. */
function accountPassword(registrationSecret: string, matrixUserId: string): string {
  return createHmac("sha256", registrationSecret).update(`password ${matrixUserId}`).digest("base64url");
}

/**
 * Registers an account with the homeserver's shared secret, bound to a device. Null when the account exists.
 * @throws MatrixFailure
 */
export async function registerWithSecret(
  access: RegistrationAccess,
  account: { matrixUserId: string; deviceId: string; isAdmin: boolean },
): Promise<{ deviceId: string; accessToken: string } | null> {
  const request = access.connect(null)({});
  const prefix = "/_synapse/admin/v1";
  const { nonce } = nonceResponse.parse(await request({ method: "GET", path: "/register", prefix }));
  const username = localpartOf(account.matrixUserId);
  const password = accountPassword(access.registrationSecret, account.matrixUserId);
  const mac = createHmac("sha1", access.registrationSecret)
    .update([nonce, username, password, account.isAdmin ? "admin" : "notadmin"].join("\0"))
    .digest("hex");
  const response = await unlessConflict(
    request({
      method: "POST",
      path: "/register",
      prefix,
      body: {
        nonce,
        username,
        password,
        admin: account.isAdmin,
        mac,
        device_id: account.deviceId,
        initial_device_display_name: "OpenMeet Chat",
      },
    }),
  );
  if (response === null) return null;
  const { device_id: deviceId, access_token: accessToken } = tokenResponse.parse(response);
  return { deviceId, accessToken };
}

/** Logs in with the account's password; a new device unless one is named. */
export async function loginWithPassword(
  access: RegistrationAccess,
  matrixUserId: string,
  options: { deviceId?: string; displayName: string },
): Promise<{ deviceId: string; accessToken: string }> {
  const request = access.connect(null)({});
  const response = await request({
    method: "POST",
    path: "/login",
    body: {
      type: "m.login.password",
      identifier: { type: "m.id.user", user: matrixUserId },
      password: accountPassword(access.registrationSecret, matrixUserId),
      initial_device_display_name: options.displayName,
      ...(options.deviceId === undefined ? {} : { device_id: options.deviceId }),
    },
  });
  const { device_id: deviceId, access_token: accessToken } = tokenResponse.parse(response);
  return { deviceId, accessToken };
}

/**
 * Sets an account's password, as a server administrator that exists for this call alone: accounts of an Application Service
 * have no password. The account's devices stay logged in.
 */
export async function setPassword(access: RegistrationAccess, matrixUserId: string): Promise<void> {
  const adminId = `@omc_operator_${randomBytes(8).toString("hex")}:${access.serverName}`;
  const admin = await registerWithSecret(access, {
    matrixUserId: adminId,
    deviceId: "OPERATOR",
    isAdmin: true,
  });
  if (admin === null) throw new Error("the administrator's name is taken: try again");
  const request = access.connect(admin.accessToken)({});
  try {
    await request({
      method: "PUT",
      prefix: "/_synapse/admin/v2",
      path: `/users/${encodeURIComponent(matrixUserId)}`,
      body: { password: accountPassword(access.registrationSecret, matrixUserId), logout_devices: false },
    });
  } finally {
    await deactivateSelf(request, adminId, accountPassword(access.registrationSecret, adminId));
  }
}

async function deactivateSelf(request: Requester, matrixUserId: string, password: string): Promise<void> {
  await request({
    method: "POST",
    path: "/account/deactivate",
    body: {
      auth: { type: "m.login.password", identifier: { type: "m.id.user", user: matrixUserId }, password },
      erase: true,
    },
  });
}
