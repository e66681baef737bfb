/** Mutations of what one channel, or one client, need not wait for, and of what the application does for clients. */
import type { Mutation } from "./mutation.js"

export const handlers: ReadonlyArray<Mutation> = [
  {
    of: "channels",
    what: "a client is changed though it is still connecting",
    old: "return Effect.suspend(() => this.gate.isFree ? this.ifFree(channel, effect, whenFree) : whenFree)",
    new: "return this.ifFree(channel, effect, this.gate.isFree ? whenFree : effect)",
    file: "test/channels/side-by-side.test.ts",
    test: "is unsubscribed, and subscribed, once it has connected"
  },
  {
    of: "channels",
    what: "a lock is had by who comes, though others wait",
    old: "return !this.isHeld && this.findNext() === undefined",
    new: "return !this.isHeld",
    file: "test/channels/lock.test.ts",
    test: "is had by one at a time, in the order of who asked, whoever is interrupted"
  },
  {
    of: "channels",
    what: "who is interrupted stays in the line for a lock",
    old: "turn.isOver = true\n        this.wakeNext()",
    new: "",
    file: "test/channels/lock.test.ts",
    test: "is had by one at a time, in the order of who asked, whoever is interrupted"
  },
  {
    of: "channels",
    what: "what changes one channel waits for all channels of the client",
    old: "return `${this.connection.id} ${channel}`",
    new: "return `${this.connection.id}${channel.slice(0, 0)}`",
    file: "test/channels/side-by-side.test.ts",
    test: "the handler can change what else it is subscribed to"
  },
  {
    of: "channels",
    what: "what changes one channel waits for nothing",
    old: "return this.node.changes.with(this.lockOf(channel), effect)",
    new: "return channel === \"\" ? this.node.changes.with(this.lockOf(channel), effect) : effect",
    file: "test/channels/side-by-side.test.ts",
    test: "a change of the same channel waits, and what the server gives follows a refusal"
  },
  {
    of: "channels",
    what: "a client that is connecting is sent to",
    old: "if (session?.isConnected !== true) return false",
    new: "if (session === undefined) return false",
    file: "test/channels/side-by-side.test.ts",
    test: "nothing is sent to it"
  },
  {
    of: "channels",
    what: "a client may become another user",
    old: "if (credentials.user !== session.user) return yield* disconnects.invalidToken",
    new: "",
    file: "test/channels/side-by-side.test.ts",
    test: "by another user is refused, and nothing of either is left"
  },
  {
    of: "channels",
    what: "a pong is missed behind a command",
    old: "this.isBusy = true",
    new: "this.isBusy = false",
    file: "test/channels/side-by-side.test.ts",
    test: "loses no pong behind a command, whoever that waits for"
  },
  {
    of: "channels",
    what: "in a window a publication with a key is replaced by another",
    old: "earlier.idempotencyKey === undefined && later.idempotencyKey === undefined &&",
    new: "",
    file: "test/channels/options.test.ts",
    test: "what has an idempotency key is published once, and replaces nothing"
  },
  {
    of: "channels",
    what: "in a window what skips the history replaces what does not",
    old: "(earlier.stream === undefined) === (later.stream === undefined)",
    new: "(earlier.stream === undefined) === (later.stream === undefined) || true",
    file: "test/channels/options.test.ts",
    test: "what skips the history takes nothing from it"
  },
  {
    of: "channels",
    what: "a publisher's info does not count",
    old: "this.infoBytes(info?.connInfo) +",
    new: "",
    file: "test/channels/large.test.ts",
    test: "is refused by 107 with what its publisher is said to be, and those who listen stay"
  },
  {
    of: "channels",
    what: "a message to a client may have any size",
    old: "if (text === undefined || wrong !== undefined) return Effect.fail(wrong ?? notJson)",
    new: "if (text === undefined) return Effect.fail(wrong ?? notJson)",
    file: "test/channels/large.test.ts",
    test: "is refused by 107 as a message to a client, and the most that is taken arrives"
  },
  {
    of: "channels",
    what: "what the application grants may have any size",
    old: "return bytes <= this.mostBytes ? undefined : answerTooLarge",
    new: "return bytes < 0 ? answerTooLarge : undefined",
    file: "test/channels/handler-runtime.test.ts",
    test: "is its own fault, not the client's, and disconnects nobody"
  },
  {
    of: "channels",
    what: "a client's connect command asks for what it likes",
    old: "const was = asked?.recover === true ? Subscribing.returning(asked.since) : undefined",
    new: "const was = asked",
    file: "test/channels/recovery.test.ts",
    test: "is none of what the server subscribes to, nor where none was asked for"
  },
  {
    of: "channels",
    what: "a recovery that nobody asked for must succeed",
    old: "if (params?.recover === true && params.rejectUnrecovered &&",
    new: "if (params?.rejectUnrecovered === true &&",
    file: "test/channels/recovery.test.ts",
    test: "is none of what the server subscribes to, nor where none was asked for"
  },
  {
    of: "channels",
    what: "who is not announced hears nobody",
    old: "subscription.hearsJoins = subscription.option(\"forcePushJoinLeave\", override) ||",
    new: "subscription.hearsJoins = subscription.announced && subscription.option(\"forcePushJoinLeave\", override) ||",
    file: "test/channels/access.test.ts",
    test: "who is not announced hears of others, and who alone is announced is heard of"
  },
  {
    of: "channels",
    what: "a personal channel opens all that name its user",
    old: "isNamed: isLimited && channel === personalChannel(personal, user)",
    new: "isNamed: isLimited && namesUser(channel, user)",
    file: "test/channels/access.test.ts",
    test: "is nobody else's in a namespace that is open to all"
  },
  {
    of: "channels",
    what: "who was not let in publishes by a handler",
    old: "if (!isSubscriber && publishers !== \"all\") return yield* errors.permissionDenied",
    new: "",
    file: "test/channels/typed-wire.test.ts",
    test: "takes messages of those alone whom it has let in, unless it is for all"
  },
  {
    of: "channels",
    what: "a handler's services go while it runs",
    old: "yield* Effect.addFinalizer(() => within(changed.until(() => running === 0), patience))",
    new: "",
    file: "test/channels/handler-runtime.test.ts",
    test: "are waited for by what they use"
  },
  {
    of: "channels",
    what: "a call is part of the span that its method was registered in",
    old: "Context.omit(Tracer.ParentSpan)(",
    new: "((all: Context.Context<Tracer.ParentSpan>) => all)(",
    file: "test/channels/handler-runtime.test.ts",
    test: "are no part of the span that they were registered in"
  },
  {
    of: "channels",
    what: "code that waits for what was interrupted ends the connection",
    old: "Cause.isDie(cause) || Cause.isInterruptedOnly(cause)",
    new: "Cause.isDie(cause)",
    file: "test/channels/handler-runtime.test.ts",
    test: "fails with 100 and a line in the log, and everything goes on"
  },
  {
    of: "channels",
    what: "what the application yields wrongly is the client's fault",
    old: "error.code === errors.badRequest.code && instead.value !== data ? internalError(error) : error",
    new: "error",
    file: "test/channels/handler-runtime.test.ts",
    test: "is its own fault, not the client's, and disconnects nobody"
  },
  {
    of: "channels",
    what: "a key without a name is never replaced",
    old: "if (kid !== undefined) return false",
    new: "if (kid !== \"\") return false",
    file: "test/channels/tokens.test.ts",
    test: "a key without a name is replaced by another"
  },
  {
    of: "channels",
    what: "keys are fetched for each token without a name",
    old: "if (keys.coolingDown) {",
    new: "if (keys.coolingDown && kid !== undefined) {",
    file: "test/channels/tokens.test.ts",
    test: "a key without a name is replaced by another"
  },
  {
    of: "channels",
    what: "a stream does not end with the service",
    old: "for (const { listeners } of node.members) for (const { onEnd } of listeners) onEnd()",
    new: "",
    file: "test/channels/stream.test.ts",
    test: "ends when the service does, with what came before"
  },
  {
    of: "channels",
    what: "any name that leads here is this machine",
    old: "(origins === \"same\" || loopback.test(hostname))",
    new: "(origins === \"same\" || loopback.test(hostname) || true)",
    file: "test/node/upgrade.test.ts",
    test: "the same host may be any name that leads here, unless it must be this machine"
  },
  {
    of: "channels",
    what: "development mode is for pages of any name",
    old: "return origins.length === 0 ? (onlyHere ? \"loopback\" : \"same\")",
    new: "return origins.length === 0 ? (onlyHere ? \"same\" : \"same\")",
    file: "test/server/program.test.ts",
    test: "refuses what is wrong before the upgrade, with a status and a sentence"
  },
  {
    of: "channels",
    what: "what is no object is told in the library's words",
    old: "isNoObject(innermost(issue)) ? \"must be an object\" : shorten(first.message)",
    new: "isNoObject(innermost(issue)) ? shorten(first.message) : shorten(first.message)",
    file: "test/channels/server-api.test.ts",
    test: "wrong parameters are 107 with a sentence that names the field"
  }
]
