import type { z } from "zod";
import { AppError, type FieldError } from "../../shared/contract/errors.ts";
import { eventAttributes } from "../../shared/contract/events/envelope.ts";
import { EVENTS, findEvent, type EventData, type EventType } from "../../shared/contract/events/index.ts";
import { describeIssues } from "../http/body.ts";

/** An event whose shape is right. */
export type ReceivedEvent = {
  [T in EventType]: { source: string; id: string; type: T; data: EventData<T> };
}[EventType];

export const STRUCTURED = "application/cloudevents+json";
export const BATCH = "application/cloudevents-batch+json";
export const BINARY = "application/json";

const MAX_EVENTS = 500;
const MAX_ERRORS = 20;

/** An event as it came, and the places of its parts in the request, for errors. */
type Given = {
  attributes: unknown;
  data: unknown;
  placeOf: (attribute: string) => string;
  dataPlace: string;
};

/** What a request holds of `Call`. */
type EventsRequest = { body: unknown; header: (name: string) => string | undefined };

/**
 * The events of a request, in their order, in each of the three forms of CloudEvents over HTTP.
 * @throws AppError `invalid` that names the place of every fault, such as `[3].data.user`: then none is taken.
 */
export function readEvents(request: EventsRequest): ReceivedEvent[] {
  const errors: FieldError[] = [];
  const events = given(request).flatMap((event) => {
    if (errors.length >= MAX_ERRORS) return [];
    const read = readEvent(event, errors);
    return read ? [read] : [];
  });
  if (errors.length > 0) throw invalidEvents(errors.slice(0, MAX_ERRORS));
  return events;
}

export function invalidEvents(errors: FieldError[]): AppError {
  return new AppError("invalid", "The events are not valid.", { errors });
}

function given({ body, header }: EventsRequest): Given[] {
  const [type = ""] = (header("content-type") ?? "").toLowerCase().split(";");
  if (type.trim() === BATCH) return givenBatch(body);
  if (type.trim() === STRUCTURED) return [givenStructured(body, "")];
  const names = Object.keys(eventAttributes.shape).filter((name) => name !== "datacontenttype");
  const attributes = Object.fromEntries(
    names.flatMap((name) => {
      const value = header(`ce-${name}`);
      return value === undefined ? [] : [[name, decodeHeader(value)]];
    }),
  );
  return [{ attributes, data: body, placeOf: (name) => `ce-${name}`, dataPlace: "data" }];
}

function givenBatch(body: unknown): Given[] {
  if (!Array.isArray(body)) throw invalidEvents([{ path: "", message: "must be a list of events" }]);
  if (body.length > MAX_EVENTS)
    throw invalidEvents([{ path: "", message: `has more than ${MAX_EVENTS} events` }]);
  return body.map((event, index) => givenStructured(event, `[${index}]`));
}

function givenStructured(event: unknown, place: string): Given {
  const at = (name: string) => (place === "" ? name : name === "" ? place : `${place}.${name}`);
  const fields = typeof event === "object" && event !== null ? event : {};
  return {
    attributes: event,
    data: "data" in fields ? fields.data : undefined,
    placeOf: at,
    dataPlace: at("data"),
  };
}

/** Text that is not ASCII is percent-encoded in a header. */
function decodeHeader(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

function readEvent(
  { attributes, data, placeOf, dataPlace }: Given,
  errors: FieldError[],
): ReceivedEvent | null {
  const envelope = eventAttributes.safeParse(attributes);
  if (!envelope.success) {
    errors.push(...placed(envelope.error, placeOf));
    return null;
  }
  const { source, id, type } = envelope.data;
  const event = findEvent(type);
  if (!event) {
    const known = EVENTS.map((one) => one.type).join(", ");
    errors.push({ path: placeOf("type"), message: `is not known. Known types: ${known}` });
    return null;
  }
  const parsed = event.data.safeParse(data);
  if (parsed.success) return { source, id, type: event.type, data: parsed.data } as ReceivedEvent;
  errors.push(...placed(parsed.error, (name) => (name === "" ? dataPlace : `${dataPlace}.${name}`)));
  return null;
}

function placed(error: z.ZodError, placeOf: (name: string) => string): FieldError[] {
  return describeIssues(error.issues).map(({ path, message }) => ({ path: placeOf(path), message }));
}
