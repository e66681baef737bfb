/**
 * What presence does in Redis, each in one atomic step.
 *
 * A channel has three keys: a hash of entries by client, a sorted set of clients by the time when their lease ends, and a
 * hash that counts the clients of each user. An entry is the user as JSON, a line feed, and what else is known of the
 * client as JSON: so a script finds the user without parsing, and JSON text has no line feed.
 *
 * Times are those of Redis, so that the clocks of nodes need not agree. All keys end with the last lease.
 *
 * @since 1.0.0
 */
import type { PresenceStats } from "../channels/Presence.js"
import type { ClientInfo } from "../channels/Publication.js"
import { define, type RedisScript } from "./RedisScripts.js"

/**
 * A server whose memory is full refuses what may need more, unless the script has written before: so scripts first take
 * away, and then count.
 *
 * `expire` ends leases that are over, in one go at most `most`. It returns whether there may be more: a million leases of
 * a node that was killed must not stop Redis.
 */
const head = `
local entries, leases, users = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function userOf(entry)
  return string.sub(entry, 1, string.find(entry, "\\n", 1, true) - 1)
end

local function uncount(user)
  if redis.call("HINCRBY", users, user, -1) <= 0 then redis.call("HDEL", users, user) end
end

local function expire(most)
  local ended = redis.call("ZRANGEBYSCORE", leases, "-inf", now, "LIMIT", 0, most)
  if #ended == 0 then return false end
  local gone = redis.call("HMGET", entries, unpack(ended))
  redis.call("HDEL", entries, unpack(ended))
  redis.call("ZREM", leases, unpack(ended))
  for _, entry in ipairs(gone) do
    if entry then uncount(userOf(entry)) end
  end
  return #ended == most
end
`

const nothing = () => {}

/**
 * Of a client, its entry and the milliseconds of its lease. One that changes nothing writes only the lease.
 *
 * @internal
 */
export const add: RedisScript<void> = define({
  name: "add presence",
  lua: `${head}
expire(100)
local client, entry, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3])
local before = redis.call("HGET", entries, client)
if before ~= entry then
  local user = userOf(entry)
  local was = before and userOf(before)
  redis.call("HSET", entries, client, entry)
  if was ~= user then
    redis.call("HINCRBY", users, user, 1)
    if was then uncount(was) end
  end
end
local renewed = redis.pcall("ZADD", leases, now + ttl, client)
if type(renewed) == "table" and renewed.err then
  redis.call("ZREM", leases, client)
  redis.call("ZADD", leases, now + ttl, client)
end
if redis.call("PTTL", leases) < ttl then
  for _, key in ipairs(KEYS) do redis.call("PEXPIREAT", key, now + ttl) end
end
`,
  decode: nothing
})

/**
 * Of a client.
 *
 * @internal
 */
export const remove: RedisScript<void> = define({
  name: "remove presence",
  lua: `${head}
expire(100)
local entry = redis.call("HGET", entries, ARGV[1])
if entry then
  redis.call("HDEL", entries, ARGV[1])
  redis.call("ZREM", leases, ARGV[1])
  uncount(userOf(entry))
end
`,
  decode: nothing
})

/**
 * A client's entry.
 *
 * @internal
 */
export const encode = ({ chanInfo, connInfo, user }: ClientInfo): string =>
  `${JSON.stringify(user)}\n${JSON.stringify({ connInfo, chanInfo })}`

const decode = (client: string, entry: string): ClientInfo => {
  const end = entry.indexOf("\n")
  const user: string = JSON.parse(entry.slice(0, end))
  const rest: Pick<ClientInfo, "connInfo" | "chanInfo"> = JSON.parse(entry.slice(end + 1))
  return { user, client, ...rest }
}

const malformed = (reply: unknown): Error => new Error(`presence in Redis is malformed: ${JSON.stringify(reply)}`)

/**
 * All clients. `undefined`: some whose leases are over are still there; ask again.
 *
 * @internal
 */
export const get: RedisScript<ReadonlyMap<string, ClientInfo> | undefined> = define({
  name: "read presence",
  lua: `${head}
if expire(1000) then return false end
return redis.call("HGETALL", entries)
`,
  decode: (reply) => {
    if (reply === null) return undefined
    if (!Array.isArray(reply)) throw malformed(reply)
    const parts: ReadonlyArray<unknown> = reply
    const all = new Map<string, ClientInfo>()
    for (let at = 0; at < parts.length; at += 2) {
      const client = parts[at]
      const entry = parts[at + 1]
      if (typeof client !== "string" || typeof entry !== "string") throw malformed(reply)
      all.set(client, decode(client, entry))
    }
    return all
  }
})

/**
 * How many there are. `undefined`: some whose leases are over are still there; ask again.
 *
 * @internal
 */
export const stats: RedisScript<PresenceStats | undefined> = define({
  name: "count presence",
  lua: `${head}
if expire(1000) then return false end
return { redis.call("ZCARD", leases), redis.call("HLEN", users) }
`,
  decode: (reply) => {
    if (reply === null) return undefined
    if (!Array.isArray(reply)) throw malformed(reply)
    const [clients, users]: ReadonlyArray<unknown> = reply
    if (typeof clients !== "number" || typeof users !== "number") throw malformed(reply)
    return { clients, users }
  }
})
