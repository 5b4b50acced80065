// Search from file://, where browsers refuse workers: a hidden frame takes a worker's place.
(() => {
  if (location.protocol !== "file:") return
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      const inside = frame.contentWindow
      const load = where => new Promise((done, failed) => {
        const script = inside.document.createElement("script")
        Object.assign(script, { src: where, onload: done, onerror: failed })
        inside.document.head.append(script)
      })
      inside.importScripts = (...all) =>
        all.reduce((before, where) => before.then(() => load(where)), Promise.resolve())
      inside.postMessage = data =>
        this.dispatchEvent(new MessageEvent("message", { data }))
      this.ready = load(new URL(url, location)).then(() => inside)
    }
    postMessage(data) {
      this.ready.then(inside =>
        inside.dispatchEvent(new MessageEvent("message", { data })))
    }
    terminate() {}
  }
})()
