/**
 * Makes the outside world's clock and chance throw, so that a run follows from its seed alone and a
 * dependency that reads them is found. `setImmediate` stays: it says nothing about time.
 */
export function poisonGlobals(): void {
  const poison = (holder: object, name: string): void => {
    Object.defineProperty(holder, name, {
      configurable: true,
      value: () => {
        throw new Error(`${name} was used in a simulation: take a port`);
      },
    });
  };
  poison(Date, "now");
  poison(Math, "random");
  poison(performance, "now");
  poison(globalThis, "setTimeout");
  poison(globalThis, "setInterval");
  poison(crypto, "randomUUID");
  poison(crypto, "getRandomValues");
  const RealDate = Date;
  // Of its constructor only the call without arguments reads the clock.
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, args: []) => {
      if (args.length === 0) throw new Error("new Date() was used in a simulation: take a port");
      return Reflect.construct(target, args);
    },
  });
}
