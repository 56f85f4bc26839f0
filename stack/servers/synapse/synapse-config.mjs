import { join } from "node:path";

/**
 * The secrets and the name of one Synapse, kept for as long as its data.
 * @typedef {{serverName: string, asToken: string, hsToken: string, registrationSecret: string, macaroonSecret: string, formSecret: string}} SynapseSettings
 */

/** "appservice": our Application Service and no limits; "admin": none, and Synapse's own default limits. @typedef {"appservice" | "admin"} SynapseMode */

/**
 * The Application Service with which the workers act for all tenants. It has no URL: they read `/sync`.
 * @param {SynapseSettings} settings
 */
export function createRegistration({ serverName, asToken, hsToken }) {
  const server = serverName.replaceAll(".", "\\.");
  return {
    id: "openmeet-chat",
    url: null,
    as_token: asToken,
    hs_token: hsToken,
    sender_localpart: "omc_appservice",
    rate_limited: false,
    receive_ephemeral: true,
    // Devices are made without a login, so that a send has a device and its transaction id survives a restart.
    "io.element.msc4190": true,
    namespaces: {
      // Not exclusive: else the Admin API refuses these accounts.
      users: [{ regex: `@omc_.*:${server}`, exclusive: false }],
      aliases: [{ regex: `#omc_.*:${server}`, exclusive: false }],
      rooms: [],
    },
  };
}

/**
 * homeserver.yaml, as JSON, which is YAML too.
 * @param {{mode: SynapseMode, settings: SynapseSettings, database: import("./synapse-data.mjs").SynapseDatabase, port: number, dataDir: string, paths: {signingKey: string, logConfig: string, registration: string}}} given
 */
export function createHomeserverConfig({ mode, settings, database, port, dataDir, paths }) {
  return {
    server_name: settings.serverName,
    public_baseurl: `http://127.0.0.1:${port}/`,
    listeners: [
      {
        port,
        type: "http",
        bind_addresses: ["127.0.0.1"],
        tls: false,
        x_forwarded: false,
        resources: [{ names: ["client"], compress: false }],
      },
    ],
    database,
    media_store_path: join(dataDir, "media"),
    pid_file: join(dataDir, "homeserver.pid"),
    signing_key_path: paths.signingKey,
    log_config: paths.logConfig,
    registration_shared_secret: settings.registrationSecret,
    macaroon_secret_key: settings.macaroonSecret,
    form_secret: settings.formSecret,
    bcrypt_rounds: 4,
    enable_registration: false,
    presence: { enabled: false },
    default_room_version: "11",
    encryption_enabled_by_default_for_room_type: "off",
    url_preview_enabled: false,
    trusted_key_servers: [],
    suppress_key_server_warning: true,
    report_stats: false,
    federation_domain_whitelist: [],
    ...createIdleDuties(),
    ...(mode === "appservice"
      ? { app_service_config_files: [paths.registration], ...createOpenLimits() }
      : {}),
  };
}

/**
 * Work that Synapse does after each event and that no client here needs. It costs a fifth of its database's
 * transactions, and the next send and every reader of `/sync` wait for it. Duties that only a worker can have are
 * assigned to a worker that does not exist.
 */
function createIdleDuties() {
  const noWorker = "nobody";
  return {
    // No Matrix client here uses push, Matrix's unread counts or search.
    push: { enabled: false },
    enable_search: false,
    // Federation is off.
    send_federation: false,
    // Our Application Service has no URL. For a second one with a URL, remove this line.
    notify_appservices_from_worker: noWorker,
    // The directory is not used: accounts have opaque ids, and the product has its own users.
    user_directory: { enabled: false },
    update_user_directory_from_worker: noWorker,
    // Counts for room lists, which no client reads.
    stats: { enabled: false },
  };
}

/** Limits so high that nothing here reaches them. */
function createOpenLimits() {
  const open = { per_second: 100_000, burst_count: 100_000 };
  return {
    rc_message: open,
    rc_registration: open,
    rc_registration_token_validity: open,
    rc_login: { address: open, account: open, failed_attempts: open },
    rc_admin_redaction: open,
    rc_joins: { local: open, remote: open },
    rc_joins_per_room: open,
    rc_3pid_validation: open,
    rc_invites: { per_room: open, per_user: open, per_issuer: open },
    rc_third_party_invite: open,
    rc_media_create: open,
    rc_presence: { per_user: open },
    rc_delayed_event_mgmt: open,
    rc_room_creation: open,
    rc_reports: open,
    rc_user_directory: open,
    rc_profile: open,
  };
}

/** Warnings and errors, on the standard error. */
export function createLogConfig() {
  return {
    version: 1,
    disable_existing_loggers: false,
    formatters: { line: { format: "%(asctime)s %(levelname)s %(name)s %(request)s %(message)s" } },
    filters: { context: { "()": "synapse.logging.context.LoggingContextFilter", request: "" } },
    handlers: { console: { class: "logging.StreamHandler", formatter: "line", filters: ["context"] } },
    root: { level: "WARNING", handlers: ["console"] },
  };
}
