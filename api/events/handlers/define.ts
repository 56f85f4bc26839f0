import type { EventData, EventType } from "../../../shared/contract/events/index.ts";
import type { TenantLimits } from "../../../shared/db/tenants/tenants.ts";
import type { Plan } from "../plan.ts";

/** The settings of a tenant that events follow. */
export type EventSettings = Pick<TenantLimits, "rsvp">;

/** Folds one event into the plan. It reads no state, and refuses nothing. */
export type Handler<T extends EventType> = (plan: Plan, data: EventData<T>, settings: EventSettings) => void;
