export type RouteCall = {
  /** The account and the device that the call acts as. */
  userId: string;
  deviceId: string | null;
  params: string[];
  query: URLSearchParams;
  body: Record<string, unknown>;
  signal: AbortSignal;
};

export type RouteResult = Record<string, unknown> | Promise<Record<string, unknown>>;
