import { Model } from "objection";
import { z } from "zod";
import type { HomeserverConfig } from "../../platform/config.ts";
import { newId } from "../../platform/ids.ts";
import { seal, unseal, type SealKey } from "../../platform/seal.ts";
import type { Db } from "../connection/open.ts";

/** A Matrix homeserver that keeps the accounts and rooms of some tenants. */
export class Homeserver extends Model {
  static override tableName = "homeservers";
  declare id: string;
  declare server_name: string;
  declare base_url: string;
  declare mode: "appservice" | "admin";
  declare sealed_secrets: string;
  declare created_at: Date;
}

const homeserverSecrets = z.strictObject({
  asToken: z.string().nullable(),
  registrationSecret: z.string().nullable(),
});
export type HomeserverSecrets = z.infer<typeof homeserverSecrets>;

/** Inserts or updates the homeserver of the configuration. Its server name identifies it. */
export async function ensureHomeserver(
  db: Db,
  sealKeys: readonly SealKey[],
  config: HomeserverConfig,
): Promise<Homeserver> {
  await db("homeservers")
    .insert({
      id: newId(),
      server_name: config.serverName,
      base_url: config.baseUrl,
      mode: config.mode,
      sealed_secrets: "",
    })
    .onConflict("server_name")
    .ignore();
  const { id } = await Homeserver.query(db).findOne({ server_name: config.serverName }).throwIfNotFound();
  const secrets: HomeserverSecrets = {
    asToken: config.asToken,
    registrationSecret: config.registrationSecret,
  };
  return Homeserver.query(db)
    .patchAndFetchById(id, {
      base_url: config.baseUrl,
      mode: config.mode,
      sealed_secrets: seal(sealKeys, sealContext(id), JSON.stringify(secrets)),
    })
    .throwIfNotFound();
}

export async function findHomeserver(db: Db, id: string): Promise<Homeserver | undefined> {
  return Homeserver.query(db).findById(id);
}

/** @throws when the seal keys do not hold the key it was sealed with. */
export function openHomeserverSecrets(
  sealKeys: readonly SealKey[],
  homeserver: Homeserver,
): HomeserverSecrets {
  return homeserverSecrets.parse(
    JSON.parse(unseal(sealKeys, sealContext(homeserver.id), homeserver.sealed_secrets)),
  );
}

function sealContext(id: string): { tenant: string; row: string } {
  return { tenant: "homeserver", row: id };
}

/** Seals every homeserver's secrets with the first key. Returns how many homeservers there are. */
export async function resealHomeservers(db: Db, sealKeys: readonly SealKey[]): Promise<number> {
  const homeservers = await Homeserver.query(db);
  for (const homeserver of homeservers) {
    const secrets = JSON.stringify(openHomeserverSecrets(sealKeys, homeserver));
    await Homeserver.query(db)
      .patch({ sealed_secrets: seal(sealKeys, sealContext(homeserver.id), secrets) })
      .where({ id: homeserver.id, sealed_secrets: homeserver.sealed_secrets });
  }
  return homeservers.length;
}
