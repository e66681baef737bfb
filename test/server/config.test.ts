import { assert, describe, it } from "@effect/vitest"
import { HubConfig } from "effect-ws-hub"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { hostname } from "node:os"
import * as ChannelsConfig from "../../src/channels/ChannelsConfig.js"
import * as CommandLine from "../../src/server/CommandLine.js"
import * as Help from "../../src/server/Help.js"
import * as LibraryOptions from "../../src/server/LibraryOptions.js"
import * as Server from "../../src/server/Server.js"
import { load } from "../../src/server/ServerConfig.js"
import { settings } from "../../src/server/Settings.js"

const flags = (values: Readonly<Record<string, string | ReadonlyArray<string>>>) =>
  new Map(Object.entries(values).map(([name, value]) => [name, Arr.ensure(value)]))
const complaint = (given: Parameters<typeof flags>[0], environment: Readonly<Record<string, string>> = {}) =>
  Effect.map(Effect.flip(load(flags(given), environment)), ({ message }) => message)
const lineError = (...args: ReadonlyArray<string>) => Either.getOrThrow(Either.flip(CommandLine.check(args))).message

describe("ServerConfig", () => {
  it.effect("has the defaults that the help tells", () =>
    Effect.gen(function*() {
      const config = yield* load(new Map(), { PATH: "/bin", HUB_SERVICE_HOST: "10.0.0.1" })
      assert.deepStrictEqual(config, {
        name: hostname(),
        host: "127.0.0.1",
        port: 8000,
        origins: "loopback",
        trustedProxies: [],
        hub: Either.getOrThrow(HubConfig.make()),
        limits: {},
        client: {
          allowAnonymous: false,
          insecure: true,
          token: {
            hmacSecret: undefined,
            rsaPublicKey: undefined,
            ecdsaPublicKey: undefined,
            ed25519PublicKey: undefined,
            jwksUrl: undefined,
            audience: undefined,
            issuer: undefined,
            leeway: 0
          },
          options: {},
          personalChannel: { enabled: false, namespace: "", singleConnection: false }
        },
        apiKeys: [],
        namespaces: {
          withoutNamespace: {
            presence: true,
            joinLeave: true,
            historySize: 100,
            historyTtl: "300 seconds",
            forceRecovery: true,
            allowPresenceForClient: true,
            allowPresenceForAnonymous: true,
            allowHistoryForClient: true,
            allowHistoryForAnonymous: true
          }
        },
        broker: { type: "memory", commandTimeout: undefined, nodeTimeout: undefined, whileUnavailable: "refuse" },
        telemetry: undefined,
        development: true
      })
    }))

  it.effect("a flag wins over its variable", () =>
    Effect.gen(function*() {
      const config = yield* load(flags({ HUB_PORT: "1", HUB_ALLOWED_ORIGINS: "https://flag.example" }), {
        HUB_PORT: "2",
        HUB_ALLOWED_ORIGINS: "https://env.example",
        HUB_HOST: "::1",
        HUB_MESSAGE_BYTES: "7"
      })
      assert.deepInclude(config, { port: 1, host: "::1", origins: ["https://flag.example"] })
      assert.strictEqual(config.hub.messageBytes, 7)
    }))

  it.effect("every limit of the hub can be set, and switched off where it can be", () =>
    Effect.gen(function*() {
      const given = {
        HUB_MESSAGE_BYTES: "1",
        HUB_INBOX_BYTES: "2",
        HUB_OUTBOX_BYTES: "3",
        HUB_OVERFLOW: "conflate",
        HUB_CONNECTIONS: "off",
        HUB_CONNECTIONS_PER_ADDRESS: "4",
        HUB_HANDSHAKE_TIMEOUT: "5 seconds",
        HUB_MESSAGES_PER_SECOND: "0",
        HUB_MESSAGE_BURST: "6",
        HUB_RATE_LIMIT: "drop",
        HUB_HEARTBEAT_INTERVAL: "off",
        HUB_HEARTBEAT_TIMEOUT: "700",
        HUB_DRAIN_DEADLINE: "1 minute",
        HUB_DRAIN_PACE: "8",
        HUB_CLOSE_GRACE: "900 millis"
      }
      const { hub } = yield* load(new Map(), given)
      assert.deepStrictEqual(hub, {
        messageBytes: 1,
        inboxBytes: 2,
        outboxBytes: 3,
        overflow: "conflate",
        connections: Infinity,
        connectionsPerAddress: 4,
        handshakeTimeout: 5000,
        messagesPerSecond: Infinity,
        messageBurst: 6,
        rateLimit: "drop",
        heartbeatInterval: 0,
        heartbeatTimeout: 700,
        drainDeadline: 60_000,
        drainPace: 8,
        closeGrace: 900
      })
      const others = ["HUB_HOST", "HUB_PORT", "HUB_ALLOWED_ORIGINS", "HUB_TRUSTED_PROXIES"]
      const limits = settings.filter(({ path: [section] }) => section === "limits" || section === "http")
      assert.sameMembers(limits.map(({ variable }) => variable), [...Object.keys(given), ...others])
    }))

  it.effect("every option of channels can be set, and those that have none switched off", () =>
    Effect.gen(function*() {
      const given = {
        HUB_CLIENT_PING_INTERVAL: "10 seconds",
        HUB_CLIENT_PONG_TIMEOUT: "1 second",
        HUB_CLIENT_STALE_TIMEOUT: "2 seconds",
        HUB_CLIENT_EXPIRED_DELAY: "3000",
        HUB_CLIENT_CHANNEL_LIMIT: "0",
        HUB_CLIENT_USER_CONNECTIONS: "3000000000",
        HUB_CLIENT_PRESENCE_INTERVAL: "5 seconds",
        HUB_CLIENT_PRESENCE_TTL: "6 seconds",
        HUB_CLIENT_POSITION_CHECK_INTERVAL: "7 seconds",
        HUB_CLIENT_RECOVERY_LIMIT: "8",
        HUB_CLIENT_HISTORY_LIMIT: "0",
        HUB_NODE_NAME: "nine"
      }
      const config = Either.getOrThrow(
        ChannelsConfig.make(LibraryOptions.channels(yield* load(new Map(), given)))
      )
      assert.deepStrictEqual(config, {
        insecure: true,
        name: "nine",
        version: "",
        pingInterval: 10_000,
        pongTimeout: 1000,
        staleTimeout: 2000,
        expiredDelay: 3000,
        channelLimit: Infinity,
        userConnections: 3_000_000_000,
        presenceInterval: 5000,
        presenceTtl: 6000,
        positionCheckInterval: 7000,
        recoveryLimit: 8,
        historyLimit: Infinity,
        personalChannel: undefined
      })
    }))

  it.effect("origins are written as browsers write them", () =>
    Effect.gen(function*() {
      const given = "https://App.example:443, http://localhost:3000 ,capacitor://localhost"
      const { origins } = yield* load(new Map(), { HUB_ALLOWED_ORIGINS: given })
      assert.deepStrictEqual(origins, ["https://app.example", "http://localhost:3000", "capacitor://localhost"])
      assert.strictEqual((yield* load(flags({ HUB_ALLOWED_ORIGINS: ["https://a.example", "any"] }), {})).origins, "any")
    }))

  const wrong: ReadonlyArray<readonly [variable: string, value: string, expected: string]> = [
    ["HUB_PORT", "65536", "a whole number from 0 to 65535"],
    ["HUB_PORT", "80a", "a whole number from 0 to 65535"],
    ["HUB_PORT", "", "a whole number from 0 to 65535"],
    ["HUB_HOST", "a b", "an IP address or a host name"],
    ["HUB_MESSAGE_BYTES", "-1", "a whole number above 0 (it cannot be switched off)"],
    ["HUB_MESSAGE_BYTES", "64k", "a whole number above 0 (it cannot be switched off)"],
    ["HUB_MESSAGE_BYTES", "0", "a whole number above 0 (it cannot be switched off)"],
    ["HUB_INBOX_BYTES", "0", "a whole number above 0 (it cannot be switched off)"],
    ["HUB_OUTBOX_BYTES", "0", "a whole number above 0 (it cannot be switched off)"],
    ["HUB_CLIENT_QUEUE_MAX_SIZE", "0", "a whole number above 0 (it cannot be switched off)"],
    ["HUB_CONNECTIONS", "many", "a whole number above 0, or 0 or \"off\" for no limit"],
    ["HUB_OVERFLOW", "panic", "disconnect, drop-newest, drop-oldest or conflate"],
    ["HUB_RATE_LIMIT", "shout", "close or drop"],
    ["HUB_ALLOWED_ORIGINS", "https://app.example/", "origins such as https://app.example, without a path, or \"any\""],
    ["HUB_ALLOWED_ORIGINS", "*", "origins such as https://app.example, without a path, or \"any\""]
  ]
  for (const [variable, value, expected] of wrong) {
    it.effect(`${variable}=${value} names the variable or the flag, what was expected and what was given`, () =>
      Effect.gen(function*() {
        const rest = `: expected ${expected}, got ${JSON.stringify(value)}.`
        assert.strictEqual(yield* complaint({}, { [variable]: value }), variable + rest)
        const flag = settings.find((setting) => setting.variable === variable)?.flag ?? ""
        assert.strictEqual(yield* complaint({ [variable]: value }, { [variable]: "fine?" }), flag + rest)
      }))
  }

  it.effect("0 switches the limits of the shape off that can be", () =>
    Effect.gen(function*() {
      const { hub } = yield* load(new Map(), {
        HUB_CONNECTIONS: "0",
        HUB_CONNECTIONS_PER_ADDRESS: "0",
        HUB_MESSAGES_PER_SECOND: "0",
        HUB_HANDSHAKE_TIMEOUT: "0",
        HUB_DRAIN_DEADLINE: "0"
      })
      assert.deepInclude(hub, {
        connections: Infinity,
        connectionsPerAddress: Infinity,
        messagesPerSecond: Infinity,
        handshakeTimeout: 0,
        drainDeadline: 0
      })
    }))

  const withZero = settings.filter(({ placeholder }) => /^(TIME|COUNT|BYTES)/.test(placeholder))
  it.effect.each(withZero)(
    "$variable: its help says what 0 does",
    ({ help, path, variable }) =>
      Effect.gen(function*() {
        const beside = path[0] === "broker" ? { HUB_BROKER_TYPE: "redis" } : { HUB_CLIENT_ALLOW_ANONYMOUS: "true" }
        const taken = Either.isRight(yield* Effect.either(load(flags({ [variable]: "0" }), beside)))
        assert.match(help, taken ? /; 0 (or off )?(for|to) [^;]+$/ : /; cannot be 0( while there are pings)?$/)
      })
  )

  it.effect("durations too", () =>
    Effect.gen(function*() {
      const message = yield* complaint({ HUB_DRAIN_DEADLINE: "soon" })
      assert.match(message, /^--drain-deadline: expected a duration such as "10 seconds" .*, got "soon"\.$/)
    }))

  it.effect("all that is wrong is told at once, a line each", () =>
    Effect.gen(function*() {
      const message = yield* complaint({ HUB_PORT: "x" }, { HUB_OVERFLOW: "y", HUB_MESSAGE_BYTES: "z" })
      assert.sameMembers(message.split("\n").map((line) => line.slice(0, line.indexOf(":"))), [
        "--port",
        "HUB_OVERFLOW",
        "HUB_MESSAGE_BYTES"
      ])
    }))

  it.effect("options that do not go together are named as the user knows them", () =>
    Effect.gen(function*() {
      assert.strictEqual(
        yield* complaint({ HUB_HEARTBEAT_TIMEOUT: "0" }),
        "--heartbeat-timeout: expected a duration above 0 (to switch heartbeats off, set HUB_HEARTBEAT_INTERVAL to \"off\"), got \"0\"."
      )
    }))
})

describe("CommandLine", () => {
  it("reads --flag value and --flag=value", () => {
    assert.deepStrictEqual(
      Either.getOrThrow(
        CommandLine.check(["--port", "1", "--host=a=b", "--allowed-origin=x", "--allowed-origin", "y"])
      ),
      ["--port", "1", "--host", "a=b", "--allowed-origin", "x", "--allowed-origin", "y"]
    )
  })

  it("names what is unknown, and what was probably meant", () => {
    assert.strictEqual(lineError("--prt", "1"), "--prt: there is no such option; did you mean --port?")
    assert.strictEqual(lineError("--wibble"), "--wibble: there is no such option; `effect-ws-hub --help` lists all.")
    for (const name of ["--limits.message-bytes", "--limits-messageBytes", "--bytes-message"]) {
      assert.strictEqual(lineError(name, "1"), `${name}: there is no such option; did you mean --message-bytes?`)
    }
    // Of several, none is more likely.
    assert.strictEqual(lineError("--timeout"), "--timeout: there is no such option; `effect-ws-hub --help` lists all.")
    assert.strictEqual(lineError("8000"), "\"8000\": unexpected; every option begins with --.")
  })

  it("names the flag whose value is missing, empty, or one too many", () => {
    assert.strictEqual(lineError("--port"), "--port: a value must follow (PORT).")
    assert.strictEqual(lineError("--port", "--host", "x"), "--port: a value must follow (PORT).")
    assert.strictEqual(lineError("--client-insecure="), "--client-insecure: a value must follow (true or false).")
    assert.strictEqual(lineError("--allowed-origin="), "--allowed-origin: a value must follow (ORIGIN).")
    assert.strictEqual(lineError("--port=1", "--port", "2"), "--port: given more than once.")
    assert.match(lineError("--log-level", "loud"), /^--log-level: expected one of .*debug.*, got "loud"\.$/)
  })

  it("puts the command first, and knows which options are its own", () => {
    const checked = (...args: ReadonlyArray<string>) => Either.getOrThrow(CommandLine.check(args))
    assert.deepStrictEqual(checked("--port", "1", "serve", "--config=x"), ["serve", "--port", "1", "--config", "x"])
    assert.deepStrictEqual(checked("--client-insecure", "check-config"), ["check-config", "--client-insecure", "true"])
    assert.deepStrictEqual(checked("--client-insecure", "false"), ["--client-insecure", "false"])
    assert.deepStrictEqual(checked("--client-token-rsa-public-key", "-----BEGIN"), [
      "--client-token-rsa-public-key",
      "-----BEGIN"
    ])
    assert.strictEqual(lineError("gen-tokn"), "\"gen-tokn\": there is no such command; did you mean gen-token?")
    assert.strictEqual(lineError("serve", "serve"), "\"serve\": unexpected; every option begins with --.")
    assert.strictEqual(lineError("--user", "ada"), "--user: not an option of serve, but of gen-token.")
    assert.strictEqual(
      lineError("gen-config", "--port", "1"),
      "--port: not an option of gen-config, but of serve, gen-token, check-config."
    )
  })

  it("the help has one line for each option, with its default, within 120 columns", () => {
    const help = Help.help("1.2.3").split("\n")
    assert.include(help[0], "1.2.3")
    for (const { fallback, flag } of settings) {
      const found = help.flatMap((line, index) => line.trimEnd().startsWith(`  ${flag}`) ? [index] : [])
        .filter((index) => /^ *\S+( |$)/.exec(help[index] ?? "")?.[0].trim() === flag)
      assert.strictEqual(found.length, 1, flag)
      const [at = 0] = found
      assert.isTrue([help[at], help[at + 1]].some((line) => line?.endsWith(`[${fallback}]`)), flag)
    }
    for (const line of help) assert.isAtMost(line.length, 120, line)
  })
})

describe("a server that cannot listen", () => {
  it.each([
    ["EADDRINUSE", /^port 80 of 10\.0\.0\.1 is in use\..*--port or HUB_PORT\.$/],
    ["EACCES", /^no permission to listen on port 80 of 10\.0\.0\.1\..*--port or HUB_PORT\.$/],
    ["EADDRNOTAVAIL", /^10\.0\.0\.1 is not an address of this machine\..*--host or HUB_HOST\.$/],
    ["ENOTFOUND", /^the host name 10\.0\.0\.1 is not known\..*--host or HUB_HOST\.$/],
    ["EOTHER", /^cannot listen on port 80 of 10\.0\.0\.1: it broke\.$/]
  ])("%s is told in a sentence", (code, expected) => {
    assert.match(
      Server.cannotListen(Object.assign(new Error("it broke"), { code }), { host: "10.0.0.1", port: 80 }),
      expected
    )
  })
})
