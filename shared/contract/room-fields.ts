import { z } from "zod";
import { boundedText, limitedText } from "./bounded-text.ts";
import { webUrl } from "./web-url.ts";

/** Fields of rooms and users as a product writes them, in calls and in domain events. */
export const displayName = boundedText(256);
export const roomName = boundedText(256);
export const roomTopic = boundedText(1_024);
export const visibility = z.enum(["private", "public"]);

export const avatarUrl = limitedText(2_048)
  .regex(webUrl, "must be an http or https URL without spaces, backslashes, quotes and credentials")
  .refine((text) => URL.canParse(text), "must be an http or https URL")
  .meta({
    description:
      "An http or https URL of 1 to 2048 bytes. Its host is a name in ASCII or an IPv4 address; it has no credentials",
    examples: ["https://example.org/ada.png"],
  });
