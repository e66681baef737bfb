/**
 * The command `gen-token`.
 */
import * as Effect from "effect/Effect"
import * as TokenSigner from "../channels/TokenSigner.js"
import { millis } from "./Leaf.js"
import type { ClientConfig } from "./ServerConfig.js"
import { type Flags, flagValue } from "./Sources.js"
import { Unusable } from "./Unusable.js"

/**
 * A token for a connection, or with `--channel` for a subscription, for these flags. Why signing failed is not told, so
 * that nothing of the secret is in an error.
 */
export const token = ({ token: { audience, hmacSecret, issuer } }: ClientConfig, flags: Flags) =>
  Effect.gen(function*() {
    if (hmacSecret === undefined) {
      return yield* new Unusable({
        message:
          "client.token.hmacSecret is not set, and tokens are signed with it: set it in the file or in HUB_CLIENT_TOKEN_HMAC_SECRET."
      })
    }
    const ttlText = flagValue(flags, "--ttl") ?? "1 hour"
    const ttl = millis(/^\d+$/.test(ttlText) ? Number(ttlText) : ttlText)
    if (ttl === undefined || (ttl > 0 && ttl < 1000)) {
      return yield* new Unusable({
        message: `--ttl: expected a duration such as "1 hour", from a second to 24 days, or 0, got ${
          JSON.stringify(ttlText)
        }.`
      })
    }
    const channel = flagValue(flags, "--channel")
    const channels = flags.get("--channels")
    if (channel !== undefined && channels !== undefined) {
      return yield* new Unusable({
        message: "--channels: it is for the token of a connection, and --channel makes one for a subscription."
      })
    }
    const options = {
      secret: hmacSecret,
      user: flagValue(flags, "--user") ?? "",
      expireIn: ttl === 0 ? undefined : ttl,
      audience,
      issuer
    }
    return yield* Effect.mapError(
      channel === undefined
        ? TokenSigner.connection({ ...options, channels })
        : TokenSigner.subscription({ ...options, channel }),
      () => new Unusable({ message: "the token could not be signed with client.token.hmacSecret." })
    )
  })
