/**
 * Mounts the server API on Node, with its keys.
 *
 * @since 1.0.0
 */
import type * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { createHash, timingSafeEqual } from "node:crypto"
import type { Channels } from "../channels/Channels.js"
import { ApiKey } from "../channels/ServerApi.js"
import * as ServerApiRoutes from "../channels/ServerApiRoutes.js"

/**
 * @since 1.0.0
 * @category models
 */
export interface Options extends ServerApiRoutes.RoutesOptions {
  /** Any of them is accepted; two make it possible to replace one. None: no API, and its paths are 404. */
  readonly keys: ReadonlyArray<Redacted.Redacted>
}

/** Digests have one length, and their bytes say nothing of the key's. */
const digest = (key: string) => createHash("sha256").update(key).digest()

/**
 * Whether a key is one of these. The time it takes depends on neither.
 *
 * @since 1.0.0
 * @category constructors
 */
export const accepts = (keys: ReadonlyArray<Redacted.Redacted>): (key: string) => boolean => {
  const digests = keys.map((key) => digest(Redacted.value(key)))
  return (key) => {
    const given = digest(key)
    let found = false
    for (const known of digests) {
      if (timingSafeEqual(known, given)) found = true
    }
    return found
  }
}

const layerKeys = (keys: ReadonlyArray<Redacted.Redacted>): Layer.Layer<ApiKey> => {
  const accepted = accepts(keys)
  const check = (key: string) =>
    accepted(key) ? Effect.void : Effect.fail({ code: 101, message: "unauthorized" } as const)
  return Layer.succeed(ApiKey, {
    key: (given) => check(Redacted.value(given)),
    authorization: (given) => check(/^apikey +(.*)$/is.exec(Redacted.value(given))?.[1] ?? "")
  })
}

/**
 * Adds the server API to a router: `POST /api/<method>`, `/api/openapi.json` and `/api/docs`.
 *
 * A key that is empty is a mistake in the configuration, not a key: it is left out.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<never, never, HttpLayerRouter.HttpRouter | Channels> => {
  const keys = options.keys.filter((key) => Redacted.value(key) !== "")
  return keys.length === 0 ? Layer.empty : Layer.provide(ServerApiRoutes.layer(options), layerKeys(keys))
}
