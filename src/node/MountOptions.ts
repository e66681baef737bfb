/**
 * What the options of a mount must be: what is wrong is named when the mount is made, before any peer comes.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import { BlockList, isIP } from "node:net"
import * as Zlib from "node:zlib"
import type { PerMessageDeflateOptions } from "ws"
import { type CloseWords, isSendable, reasons } from "../core/CloseReason.js"
import type { Handler, HandlerOptions } from "../core/Handler.js"
import { InvalidOption } from "../core/HubError.js"
import type { Origins } from "./HandshakeRules.js"

/**
 * How a mount greets, authorises and serves its peers.
 *
 * @since 1.0.0
 * @category models
 */
export interface Options<P, E, R, E1 = never, R1 = never> extends HandlerOptions<P, E, E1, R1> {
  readonly handler: Handler<P, E, R>
  /**
   * The browser origins that may connect: `"same"` (the default: the origin's host is the request's `Host`),
   * `"loopback"` (the same, and it is localhost or a loopback address: no other name that leads here, as in DNS
   * rebinding), `"any"`, or a list such as `["https://app.example"]`. Peers that send no `Origin` are no browsers and are
   * let in.
   */
  readonly origins?: "same" | "loopback" | "any" | ReadonlyArray<string> | undefined
  /** The subprotocols that are spoken: the first of the peer's that is among them is chosen; if none is, 400. */
  readonly subprotocols?: ReadonlyArray<string> | undefined
  /** Compresses messages (RFC 7692) for peers that ask for it. Costs memory and time; off by default. */
  readonly compression?: boolean | PerMessageDeflateOptions | undefined
  /**
   * Addresses and CIDR ranges of the proxies whose `X-Forwarded-For` is believed; the peer is then the last address in
   * it that is not one of them. None by default.
   */
  readonly trustedProxies?: ReadonlyArray<string> | undefined
}

/** In the order of the documentation; `authorize` is an option of `NodeUpgrade`, in two forms. */
const known: Record<keyof Options<never, never, never> | "authorize", true> = {
  handler: true,
  greeting: true,
  onFailure: true,
  closeWith: true,
  authorize: true,
  origins: true,
  subprotocols: true,
  compression: true,
  trustedProxies: true
}

const names = (given: object): Effect.Effect<void, InvalidOption> => {
  const unknown = Object.keys(given).find((key) => !Object.hasOwn(known, key))
  const expected = `one of ${Object.keys(known).join(", ")}`
  return unknown === undefined ? Effect.void : new InvalidOption({ key: unknown, expected, actual: unknown })
}

const origins = (
  given: "same" | "loopback" | "any" | ReadonlyArray<string> | undefined
): Effect.Effect<Origins, InvalidOption> => {
  const expected = "origins such as https://app.example, without a path, or \"same\", \"loopback\" or \"any\""
  if (given === undefined || given === "same" || given === "loopback" || given === "any") {
    return Effect.succeed(given ?? "same")
  }
  if (!Array.isArray(given)) return new InvalidOption({ key: "origins", expected, actual: given })
  const isOrigin = (origin: string) =>
    origin === "null" || (URL.canParse(origin) && new URL(origin).origin === origin.toLowerCase())
  const wrong = given.find((origin) => !isOrigin(origin))
  return wrong === undefined
    ? Effect.succeed(new Set(given.map((origin) => origin.toLowerCase())))
    : new InvalidOption({ key: "origins", expected, actual: wrong })
}

const trustedProxies = (
  proxies: ReadonlyArray<string> | undefined
): Effect.Effect<BlockList | undefined, InvalidOption> =>
  Effect.gen(function*() {
    if (proxies === undefined || proxies.length === 0) return undefined
    const list = new BlockList()
    for (const proxy of proxies) {
      const [address = "", prefix, more] = proxy.split("/")
      const family = isIP(address) === 6 ? "ipv6" : "ipv4"
      const bits = prefix === undefined ? undefined : Number(prefix)
      const valid = isIP(address) !== 0 && more === undefined &&
        (bits === undefined || (/^\d+$/.test(prefix ?? "") && bits <= (family === "ipv6" ? 128 : 32)))
      if (!valid) {
        return yield* new InvalidOption({
          key: "trustedProxies",
          expected: "IP addresses or CIDR ranges such as 10.0.0.0/8",
          actual: proxy
        })
      }
      if (bits === undefined) list.addAddress(address, family)
      else list.addSubnet(address, bits, family)
    }
    return list
  })

/** Of the characters of RFC 7230 §3.2.6. */
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

const subprotocols = (
  given: ReadonlyArray<string> | undefined
): Effect.Effect<ReadonlySet<string>, InvalidOption> => {
  const wrong = given?.find((one) => !token.test(one))
  return wrong === undefined
    ? Effect.succeed(new Set(given))
    : new InvalidOption({
      key: "subprotocols",
      expected: "names of letters, digits and !#$%&'*+-.^_`|~",
      actual: wrong
    })
}

const windowBits = (key: string, given: unknown): Effect.Effect<void, InvalidOption> =>
  given === undefined || typeof given === "boolean" ||
    Number.isInteger(given) && Number(given) >= 8 && Number(given) <= 15
    ? Effect.void
    : new InvalidOption({ key: `compression.${key}`, expected: "a whole number from 8 to 15", actual: given })

const least = (key: string, given: number | undefined, from: number): Effect.Effect<void, InvalidOption> =>
  given === undefined || given >= from
    ? Effect.void
    : new InvalidOption({ key: `compression.${key}`, expected: `a number of at least ${from}`, actual: given })

/** zlib alone knows all of its options: it is asked here, since its first message would be too late. */
const accepted = (
  key: "zlibDeflateOptions" | "zlibInflateOptions",
  given: PerMessageDeflateOptions,
  make: (options: Zlib.ZlibOptions) => Zlib.Zlib & { readonly close: () => void }
) =>
  Effect.try({
    try: () => {
      const { dictionary: _, ...options } = given[key] ?? {}
      make(options).close()
    },
    catch: (cause) =>
      new InvalidOption({
        key: `compression.${key}`,
        expected: "options of zlib",
        actual: cause instanceof Error ? cause.message : cause
      })
  })

const compression = (
  given: boolean | PerMessageDeflateOptions | undefined
): Effect.Effect<boolean | PerMessageDeflateOptions, InvalidOption> =>
  typeof given !== "object" ? Effect.succeed(given ?? false) : Effect.as(
    Effect.all([
      windowBits("serverMaxWindowBits", given.serverMaxWindowBits),
      windowBits("clientMaxWindowBits", given.clientMaxWindowBits),
      least("threshold", given.threshold, 0),
      least("concurrencyLimit", given.concurrencyLimit, 1),
      accepted("zlibDeflateOptions", given, Zlib.createDeflateRaw),
      accepted("zlibInflateOptions", given, Zlib.createInflateRaw)
    ], { discard: true }),
    given
  )

const closeWith = (given: CloseWords | undefined): Effect.Effect<void, InvalidOption> => {
  const unknown = Object.keys(given ?? {}).find((key) => !Object.hasOwn(reasons, key))
  if (unknown !== undefined) {
    const expected = `one of ${Object.keys(reasons).join(", ")}`
    return new InvalidOption({ key: `closeWith.${unknown}`, expected, actual: unknown })
  }
  const wrong = Object.entries(given ?? {}).find(([, said]) => said !== undefined && !isSendable(said.code))
  return wrong === undefined ? Effect.void : new InvalidOption({
    key: `closeWith.${wrong[0]}`,
    expected: "a code that may be sent: 1000 to 1014 without 1004 to 1006, or 3000 to 4999",
    actual: wrong[1]?.code
  })
}

/**
 * Checks the options, and reads what their values stand for.
 *
 * @internal
 */
export const make = <P, E, R, E1, R1>(options: Options<P, E, R, E1, R1>) =>
  Effect.zipRight(
    Effect.zipRight(names(options), closeWith(options.closeWith)),
    Effect.all({
      origins: origins(options.origins),
      subprotocols: subprotocols(options.subprotocols),
      compression: compression(options.compression),
      trustedProxies: trustedProxies(options.trustedProxies)
    })
  )
