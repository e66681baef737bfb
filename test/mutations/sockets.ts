/** Mutations of the floor `node`: laws that hold over real sockets. */
import type { Mutation } from "./mutation.js"

export const sockets: ReadonlyArray<Mutation> = [
  {
    of: "L10",
    what: "a mount that has closed takes newcomers",
    old: "if (unmounted) return",
    new: "if (unmounted && handshakes < 0) return",
    file: "test/node/upgrade.test.ts",
    test: "a mount whose scope has closed drains its own connections and takes no more"
  },
  {
    of: "L9",
    what: "closing waits for requests under way",
    old: "setTimeout(() => server.closeAllConnections(),",
    new: "setTimeout(() => {},",
    file: "test/node/shutdown.test.ts",
    test: "does not wait for a request that is half sent, nor for one that is idle (guard)"
  },
  {
    of: "L11",
    what: "a socket that a mount holds is not protected",
    old: `if (socket.listenerCount("error") === 0)`,
    new: `if (socket.listenerCount("error") < 0)`,
    file: "test/node/upgrade.test.ts",
    test: "a mount of one's own may take its time: a peer that resets meanwhile ends nothing"
  },
  {
    of: "L11",
    what: "an authorisation may take for ever",
    old: "Effect.timeoutFail(effect, { duration, onTimeout",
    new: "Effect.timeoutFail(effect, { duration: Infinity, onTimeout",
    file: "test/node/upgrade.test.ts",
    test: "that takes too long is 503 after the handshake timeout, and is interrupted ("
  },
  {
    of: "L8",
    what: "handshakes under way do not count",
    old: "Effect.sync(() => handshakes++)",
    new: "Effect.sync(() => handshakes)",
    file: "test/node/upgrade.test.ts",
    test: "handshakes under way count, and give their place back however they end"
  },
  {
    of: "L8",
    what: "a handshake keeps its place",
    old: "Effect.sync(() => handshakes--)",
    new: "Effect.sync(() => handshakes)",
    file: "test/node/upgrade.test.ts",
    test: "handshakes under way count, and give their place back however they end"
  },
  {
    of: "L7",
    what: "what the stream holds is overtaken",
    old: "this.isReady = this.socket.writableLength === 0",
    new: "this.isReady = true",
    file: "test/node/direct.test.ts",
    test: "whose stream holds something is not overtaken, though the kernel has room again"
  },
  {
    of: "L6",
    what: "what comes behind the answer to a close counts as sent",
    old: `HubMetrics.undelivered("out").unsafeUpdate(batch.count, [])`,
    new: "",
    file: "test/node/hostile.test.ts",
    test: "is told nothing behind the close frame that answers its own, and that is counted"
  },
  {
    of: "L9",
    what: "what runs before a drain may hold it up, with all that never ends",
    old: "config.drainDeadline / 2 )",
    new: "config.drainDeadline * 2\n)",
    file: "test/node/shutdown.test.ts",
    test: "with a handler, a peer, an authorisation and something before the drain that never end"
  },
  {
    of: "L9",
    what: "what is pending is not published before a mount is drained",
    old: "registry.drain(filter, onBatch, runHooks)",
    new: "registry.drain(filter, onBatch, Effect.void)",
    file: "test/node/shutdown.test.ts",
    test: "what was published before, and waits to be joined with more"
  },
  {
    of: "L10",
    what: "a handshake that was authorised is not asked again",
    old: "notNow(address, handshakes - 1) ?? upgrade(",
    new: "upgrade(",
    file: "test/node/upgrade.test.ts",
    test: "a handshake that is authorised when the hub has begun to drain is 503"
  },
  {
    of: "L10",
    what: "what comes with the handshake is lost",
    old: "if (head.length > 0) heads.set(request, head)",
    new: "",
    file: "test/node/upgrade.test.ts",
    test: "what comes with the handshake is not lost"
  },
  {
    of: "L9",
    what: "a mount that is closed keeps its connections",
    old: "return hub.drainWhere((connection) => connection.handshake instanceof Facts)",
    new: "return Effect.void",
    file: "test/node/upgrade.test.ts",
    test: "a mount whose scope has closed drains its own connections and takes no more"
  },
  {
    of: "L11",
    what: "a socket has no listener for errors during its handshake",
    old: `socket.on("error", ignore)`,
    new: "",
    file: "test/node/hostile.test.ts",
    test: "what ends one that is not protected ("
  },
  {
    of: "L11",
    what: "a refused peer keeps its socket half-open",
    old: `socket.on("finish", destroy)`,
    new: "",
    file: "test/node/hostile.test.ts",
    test: "a refused peer that stays half-open is let go of"
  },
  {
    of: "L11",
    what: "a peer that leaves is authorised all the same",
    old: `socket.on("readable", look).on("end", socket.destroy)`,
    new: "socket",
    file: "test/node/upgrade.test.ts",
    test: "is interrupted when the peer"
  },
  {
    of: "L11",
    what: "what breaks the protocol has one code",
    old: "protocolErrors[error.code] ?? CloseCode.protocolError",
    new: "CloseCode.protocolError",
    file: "test/node/hostile.test.ts",
    test: "text that is not UTF-8"
  },
  {
    of: "L7",
    what: "what the kernel took is written again",
    old: "taken === 0 ? bytes : bytes.subarray(taken)",
    new: "bytes",
    file: "test/node/direct.test.ts",
    test: "that is full gets the rest by its stream: every byte, once and in order"
  },
  {
    of: "L8",
    what: "the drain is told after each compressed message",
    old: "if (--this.unsent > 0 || !this.behind) return",
    new: "this.unsent--\nif (!this.behind) return",
    file: "test/node/upgrade.test.ts",
    test: "the drain is told once all that was written has left"
  },
  {
    of: "L11",
    what: "what is no request gets no answer",
    old: `if (server.listenerCount("clientError") === 1)`,
    new: `if (server.listenerCount("clientError") === 9)`,
    file: "test/node/refusals.test.ts",
    test: "with a sentence, and is counted ("
  },
  {
    of: "L11",
    what: "an answer under way is written into",
    old: "if (socket.writable && response?.headersSent !== true)",
    new: "if (socket.writable)",
    file: "test/node/refusals.test.ts",
    test: "that comes while another is answered is let go of, and the answer is not touched"
  },
  {
    of: "L11",
    what: "a body that is wrong counts as a handshake",
    old: "if (response === undefined) {",
    new: "{",
    file: "test/node/refusals.test.ts",
    test: "is no handshake if only its body is wrong: a sentence, and no count"
  },
  {
    of: "L11",
    what: "what only ws looks at gets its own answer",
    old: `server.on("wsClientError", (error`,
    new: `server.on("close", (error`,
    file: "test/node/refusals.test.ts",
    test: "400 with a sentence that names the header, counted ("
  },
  {
    of: "L11",
    what: "an authorisation that took too long is one that refused",
    old: `make("timeout", 503`,
    new: `make("unauthorized", 503`,
    file: "test/node/refusals.test.ts",
    test: "timeout: an authorisation that takes too long"
  },
  {
    of: "L8",
    what: "the headers of a handshake have a time of their own",
    old: "handshakeTimeout - HandshakeSocket.spent(request.socket)",
    new: "handshakeTimeout",
    file: "test/node/refusals.test.ts",
    test: "is one for its headers and its authorisation ("
  },
  {
    of: "L8",
    what: "what a connection did before is of its handshake",
    old: "HandshakeSocket.forget(request.socket)",
    new: "",
    file: "test/node/refusals.test.ts",
    test: "does not count what its connection did before"
  },
  {
    of: "L11",
    what: "a peer that left is refused",
    old: "claimed || socket.destroyed || answer(socket, goingAway())",
    new: "claimed || answer(socket, goingAway())",
    file: "test/node/refusals.test.ts",
    test: "none for a peer that leaves during its authorisation"
  },
  {
    of: "L8",
    what: "what a socket held when it broke counts as sent",
    old: `HubMetrics.undelivered("out").unsafeUpdate(framesBehind(bytes, taken), [])`,
    new: "",
    file: "test/node/direct.test.ts",
    test: "by a peer that resets"
  },
  {
    of: "L8",
    what: "the write under way when a socket is destroyed counts as sent",
    old: "if (!error && !this.socket.destroyed) return",
    new: "if (!error) return",
    file: "test/node/direct.test.ts",
    test: "by a server that gives up: the others arrive, frame by frame ("
  },
  {
    of: "L9",
    what: "an upgrade behind a request that is still answered is taken by the guard",
    old: "if (UnreadableRequest.cutOff(request)) return true",
    new: "",
    file: "test/node/hostile.test.ts",
    test: "an upgrade that does not wait for the answer to an earlier request is let go of"
  },
  {
    of: "L11",
    what: "an upgrade behind a request that is still answered is taken by a route",
    old: "if (UnreadableRequest.cutOff(source)) return Effect.interrupt",
    new: "",
    file: "test/node/hostile.test.ts",
    test: "an upgrade that does not wait for the answer to an earlier request is let go of"
  },
  {
    of: "L11",
    what: "whatever leaves a compressed connection is a sign of life",
    old: "if (--this.unsent > 0 || !this.behind) return",
    new: "if (--this.unsent > 0) return",
    file: "test/node/hostile.test.ts",
    test: "nor one that is told something all the time, if that is compressed"
  },
  {
    of: "L10",
    what: "a route that closes leaves an authorisation without a sentence",
    old: "claimed || source.socket.destroyed ? Effect.void : Effect.die(responseOf(goingAway()))",
    new: "Effect.void",
    file: "test/node/refusals.test.ts",
    test: "is 503 with a sentence when the server closes, and is counted ("
  },
  {
    of: "L8",
    what: "headers may take all of a handshake's time where nobody is asked",
    old: "(timeLeft(request) > 0 ? notNow(address, handshakes) : Refusal.of(new Refusal.TooSlow()))",
    new: "notNow(address, handshakes)",
    file: "test/node/refusals.test.ts",
    test: "is over for one whose headers alone took as long ("
  },
  {
    of: "L8",
    what: "an authorisation that cannot be interrupted is waited for",
    old: "timely(request, apart(authorize))",
    new: "timely(request, Effect.interruptible(authorize))",
    file: "test/node/refusals.test.ts",
    test: "that cannot be interrupted is 503 in time, and the end of its mount waits for it ("
  }
]
