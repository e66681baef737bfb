/**
 * The command `gen-token`.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { SignJWT } from "jose"
import { millis } from "./Leaf.js"
import { type ClientConfig, Unusable } from "./ServerConfig.js"
import type { Flags } from "./Sources.js"

const list = (text: string | undefined) =>
  (text ?? "").split(",").map((part) => part.trim()).filter((part) => part !== "")

/**
 * A token for a connection, or with `--channel` for a subscription, for these flags. `jose` tells no more than that it
 * failed, so that nothing of the secret is in an error.
 */
export const token = ({ token: { audience, hmacSecret, issuer } }: ClientConfig, flags: Flags) =>
  Effect.gen(function*() {
    if (hmacSecret === undefined) {
      return yield* new Unusable({
        message:
          "client.token.hmacSecret is not set, and tokens are signed with it: set it in the file or in HUB_CLIENT_TOKEN_HMAC_SECRET."
      })
    }
    const ttlText = flags.get("--ttl") ?? "1 hour"
    const ttl = millis(/^\d+$/.test(ttlText) ? Number(ttlText) : ttlText)
    if (ttl === undefined || (ttl > 0 && ttl < 1000)) {
      return yield* new Unusable({
        message: `--ttl: expected a duration such as "1 hour", from a second to 24 days, or 0, got ${
          JSON.stringify(ttlText)
        }.`
      })
    }
    const channel = flags.get("--channel")
    const channels = list(flags.get("--channels"))
    if (channel !== undefined && channels.length > 0) {
      return yield* new Unusable({
        message: "--channels: it is for the token of a connection, and --channel makes one for a subscription."
      })
    }
    const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
    const claims = {
      sub: flags.get("--user") ?? "",
      iat: now,
      ...(ttl === 0 ? {} : { exp: now + Math.floor(ttl / 1000) }),
      ...(channel === undefined ? {} : { channel }),
      ...(channels.length === 0 ? {} : { channels }),
      ...(audience === undefined ? {} : { aud: audience }),
      ...(issuer === undefined ? {} : { iss: issuer })
    }
    const key = new TextEncoder().encode(Redacted.value(hmacSecret))
    return yield* Effect.tryPromise({
      try: () => new SignJWT(claims).setProtectedHeader({ alg: "HS256", typ: "JWT" }).sign(key),
      catch: () => new Unusable({ message: "the token could not be signed with client.token.hmacSecret." })
    })
  })
