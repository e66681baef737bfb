/**
 * The command `gen-token`.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TokenSigner from "../channels/TokenSigner.js"
import type { ClientConfig } from "./ServerConfig.js"
import { type Flags, flagValue } from "./Sources.js"
import { Unusable } from "./Unusable.js"

/** A hundred years. A token needs no timer, which would end at 24 days. */
const longestDays = 36_525

/** The milliseconds of whole seconds; 0 is for ever. */
const lifetime = (text: string): number | undefined => {
  const duration = text.trim().startsWith("-")
    ? Option.none()
    : Duration.decodeUnknown(/^\d+$/.test(text) ? Number(text) : text)
  const ms = Option.getOrUndefined(Option.map(duration, Duration.toMillis))
  // What is too little to count must not become a token for ever.
  if (ms === 0 && /[1-9]/.test(text)) return undefined
  return ms !== undefined && ms % 1000 === 0 && ms <= longestDays * 86_400_000 ? ms : undefined
}

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
    const ttl = lifetime(ttlText)
    if (ttl === undefined) {
      return yield* new Unusable({
        message: `--ttl: expected a duration of whole seconds such as "30 days", at most ${longestDays} days, ` +
          `or 0 for a token that does not expire, got ${JSON.stringify(ttlText)}.`
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
