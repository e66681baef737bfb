/**
 * The first half of the page's script: its channels, and what it shows of them. A string, because it runs in browsers and
 * the page holds it as it stands.
 */
export const channels: string = `
const $ = (id) => document.getElementById(id)
const element = (tag, className, ...content) => {
  const made = document.createElement(tag)
  if (className !== "") made.className = className
  made.append(...content)
  return made
}
const plural = (n, one) => n.toLocaleString("en") + " " + one + (n === 1 ? "" : "s")
const coded = ({ code, message, reason }) => (reason ?? message) + " (" + code + ")"
const keptLines = 500
const shownMembers = 100
const awaySeconds = 5
/** By the server itself, for example since the token says so. */
const alreadySubscribed = 105
/** The codes for a token that is missing, wrong, expired or not enough. */
const aboutTokens = [1, 101, 103, 109, 3500, 3501]

const url = new URL("connection/websocket", location.href)
url.protocol = url.protocol.replace("http", "ws")
url.hash = url.search = ""
const client = new Centrifuge(url.href)

/** Ids of this page's connections: each has one of its own. */
const own = new Set()
const nameOf = ({ client, user }) => (user || "anonymous") + " " + client.slice(0, 8)

/** By name: what is known of each channel. */
const channels = new Map()
let selected

/** A channel is no better than its connection. */
const stateOf = ({ state }) =>
  client.state === "connected" || state === "not subscribed"
    ? state
    : client.state === "connecting" ? "subscribing" : "not connected"

const atEnd = () => $("scroller").scrollHeight - $("scroller").scrollTop - $("scroller").clientHeight < 40
const toEnd = () => {
  $("scroller").scrollTop = $("scroller").scrollHeight
}

const show = (channel, kind, ...content) => {
  const follow = channel === selected && (kind.startsWith("mine") || atEnd())
  const line = element("li", kind, ...content)
  channel.log.append(line)
  while (channel.log.children.length > keptLines) channel.log.firstChild.remove()
  if (channel !== selected) {
    if (!kind.startsWith("note")) channel.unread = true
    return drawList()
  }
  $("empty").hidden = true
  if (follow) toEnd()
}

const showPublication = (channel, { data, info, offset }, label) => {
  const text = typeof data === "string"
  const tags = [offset > 0 ? "offset " + offset : "", label].filter((tag) => tag !== "").join(", ")
  show(channel, own.has(info?.client) ? "mine" : "",
    element("span", "by", info === undefined ? "server" : nameOf(info)),
    element(text ? "span" : "code", "data", text ? data : JSON.stringify(data)),
    element("span", "tags", tags))
}

const drawList = () => {
  const focused = document.activeElement?.dataset.channel
  $("channels").replaceChildren(...[...channels.values()].map((channel) => {
    const button = element("button", channel.unread ? "unread" : "", element("span", "name", channel.name))
    button.type = "button"
    button.title = channel.name
    button.dataset.channel = channel.name
    if (channel === selected) button.setAttribute("aria-current", "true")
    if (channel.unread) button.append(element("span", "unseen", ", new publications"))
    const state = stateOf(channel)
    if (state !== "subscribed") button.append(element("span", "tags", state))
    button.addEventListener("click", () => select(channel))
    return element("li", "", button)
  }))
  if (focused === undefined) return
  ;[...$("channels").querySelectorAll("button")].find(({ dataset }) => dataset.channel === focused)?.focus()
}

const drawAbout = () => {
  const none = selected === undefined
  $("about").hidden = none
  $("send").setAttribute("aria-disabled", none || client.state !== "connected")
  if (none) return
  const { members, name, position, presenceProblem, server } = selected
  const state = stateOf(selected)
  $("channel").textContent = name
  $("position").textContent = position === undefined ? "" : "offset " + position.offset
  $("position").title = position === undefined ? "" : "epoch " + position.epoch
  $("leave").disabled = server
  $("history").disabled = state !== "subscribed"
  $("who").hidden = state !== "subscribed"
  $("count").textContent = presenceProblem ?? members.size.toLocaleString("en") + " here"
  $("members").replaceChildren(...[...members.values()].slice(0, shownMembers).map((info) =>
    element("li", "", nameOf(info) + (own.has(info.client) ? " (you)" : ""))))
  if (members.size > shownMembers) $("members").append(element("li", "", "and more"))
}

const draw = () => {
  drawList()
  drawAbout()
}

const select = (channel) => {
  selected?.log.remove()
  selected = channel
  document.title = (channel === undefined ? "" : channel.name + " \\u00b7 ") + "effect-ws-hub"
  $("none").hidden = channel !== undefined
  $("empty").hidden = channel === undefined || channel.log.children.length > 0
  if (channel !== undefined) {
    channel.unread = false
    $("scroller").append(channel.log)
  }
  draw()
  $("channels").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" })
  toEnd()
}

const readPresence = async (channel) => {
  try {
    const { clients } = await client.presence(channel.name)
    channel.members = new Map(Object.entries(clients))
    channel.presenceProblem = undefined
  } catch (error) {
    channel.members = new Map()
    channel.presenceProblem = "No presence: " + coded(error)
  }
  if (channel === selected) drawAbout()
}

/** The SDK delivers what it recovered right after this event, in the same turn. */
const onSubscribed = (channel, { positioned, recoverable, recovered, streamPosition, wasRecovering }) => {
  channel.state = "subscribed"
  channel.position = streamPosition
  channel.recovered = recovered ? 0 : undefined
  const flags = " (wasRecovering: " + wasRecovering + ", recovered: " + recovered + ")"
  const words = element("span", "")
  show(channel, recovered ? "note good" : wasRecovering ? "note bad" : "note", words)
  words.textContent = "Subscribed" + (recoverable ? ", recoverable" : positioned ? ", positioned" : "")
  if (wasRecovering) words.textContent = "Not recovered" + flags + ": publications were missed."
  queueMicrotask(() => {
    if (recovered) words.textContent = "Recovered" + flags + ": " + plural(channel.recovered, "publication") + " that came meanwhile."
    channel.recovered = undefined
    draw()
  })
  readPresence(channel)
}

const onPublication = (channel, publication) => {
  if (publication.offset > 0 && channel.position !== undefined) {
    channel.position = { ...channel.position, offset: publication.offset }
  }
  if (channel.recovered !== undefined) channel.recovered++
  showPublication(channel, publication, channel.recovered === undefined ? "" : "recovered")
  if (channel === selected) $("position").textContent = channel.position ? "offset " + channel.position.offset : ""
}

const onMember = (channel, info, joined) => {
  if (joined) channel.members.set(info.client, info)
  else channel.members.delete(info.client)
  if (!own.has(info.client)) show(channel, "note", nameOf(info) + (joined ? " joined" : " left"))
  if (channel === selected) drawAbout()
}

const onUnsubscribed = (channel, context) => {
  channel.state = "not subscribed"
  channel.members = new Map()
  if (context.code !== 0) show(channel, "note bad", "Not subscribed: " + coded(context))
  draw()
}

const makeChannel = (name, server) => {
  const log = element("ol", "log")
  log.setAttribute("role", "log")
  log.setAttribute("aria-live", "polite")
  log.setAttribute("aria-label", "Publications in " + name)
  const channel = { name, server, log, members: new Map(), state: "subscribing", unread: false }
  channels.set(name, channel)
  return channel
}

/** The SDK takes names of Object.prototype for channels that it has already. */
const newSubscription = (name) => {
  try {
    return client.newSubscription(name, { joinLeave: true, recoverable: true })
  } catch (error) {
    $("unusable").textContent = "The SDK cannot subscribe to " + name + ": " + error.message
  }
}

const subscribe = (name) => {
  const known = channels.get(name)
  if (known !== undefined) {
    known.subscription?.subscribe()
    return known
  }
  const subscription = newSubscription(name)
  if (subscription === undefined) return
  const channel = Object.assign(makeChannel(name, false), { subscription })
  subscription.on("subscribing", () => {
    channel.state = "subscribing"
    draw()
  })
  subscription.on("subscribed", (context) => onSubscribed(channel, context))
  subscription.on("publication", (publication) => onPublication(channel, publication))
  subscription.on("join", ({ info }) => onMember(channel, info, true))
  subscription.on("leave", ({ info }) => onMember(channel, info, false))
  subscription.on("unsubscribed", (context) => {
    if (context.code !== alreadySubscribed || !channel.granted) return onUnsubscribed(channel, context)
    client.removeSubscription(subscription)
    Object.assign(channel, { server: true, state: "subscribed", subscription: undefined })
    draw()
  })
  subscription.subscribe()
  return channel
}

/** Gives the first that one can subscribe to, or else one that is there. */
const subscribeAll = (names) => {
  $("unusable").textContent = ""
  const first = names.map(subscribe).find((channel) => channel !== undefined)
  return first ?? (channels.has(selected?.name) ? selected : [...channels.values()][0])
}

const unsubscribe = (channel) => {
  channels.delete(channel.name)
  channel.log.remove()
  channel.subscription.unsubscribe()
  client.removeSubscription(channel.subscription)
}

/** Channels to which the server subscribed this page, as its token says. */
const onServer = (event, handle) =>
  client.on(event, (context) => {
    const channel = channels.get(context.channel) ?? makeChannel(context.channel, true)
    channel.granted = true
    handle(channel, context)
    if (selected === undefined) select(channel)
  })
onServer("subscribed", onSubscribed)
onServer("publication", onPublication)
onServer("join", (channel, { info }) => onMember(channel, info, true))
onServer("leave", (channel, { info }) => onMember(channel, info, false))
client.on("unsubscribed", ({ channel: name }) => {
  const channel = channels.get(name)
  if (channel === undefined) return
  channels.delete(name)
  if (channel === selected) select([...channels.values()][0])
  else draw()
})
`
