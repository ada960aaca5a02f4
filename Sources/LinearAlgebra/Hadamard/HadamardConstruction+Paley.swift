// Paley, "On orthogonal matrices" (1933). Q[a, b] = χ(a - b) over the elements of a finite field of odd order q, where χ is
// 0 at zero, 1 at squares and -1 elsewhere:  Q Qᵀ = q I - J,  Q J = 0.
extension HadamardConstruction {
    /// H = I + [[0, 1ᵀ], [-1, Q]], of order q + 1; Q is skew because -1 is no square.
    static func paleyFirst(_ field: FiniteField) -> [Int8] {
        let n = field.order + 1
        var elements = [Int8](repeating: 1, count: n * n)
        for row in 1..<n {
            elements[row * n] = -1
            for column in 1..<n where column != row { elements[row * n + column] = field.character(row - 1, minus: column - 1) }
        }
        return elements
    }

    /// H = C ⊗ [[1, 1], [1, -1]] + I ⊗ [[1, -1], [-1, -1]], C = [[0, 1ᵀ], [1, Q]], of order 2 (q + 1); Q is symmetric.
    static func paleySecond(_ field: FiniteField) -> [Int8] {
        let half = field.order + 1
        let n = 2 * half
        var elements = [Int8](repeating: 0, count: n * n)
        for row in 0..<half {
            for column in 0..<half {
                let (block, sign): ([Int8], Int8) =
                    row == column ? ([1, -1, -1, -1], 1)
                    : ([1, 1, 1, -1], row == 0 || column == 0 ? 1 : field.character(row - 1, minus: column - 1))
                for (index, element) in block.enumerated() {
                    elements[(2 * row + index / 2) * n + 2 * column + index % 2] = sign * element
                }
            }
        }
        return elements
    }
}

/// q = p^k with p an odd prime.
struct FiniteFieldOrder: Equatable {
    let prime: Int
    let exponent: Int

    /// Nil if the number is no power of an odd prime.
    init?(_ number: Int) {
        guard number >= 3 else { return nil }
        var prime = 2
        while number % prime != 0 && prime * prime <= number { prime += 1 }
        if number % prime != 0 { prime = number }
        var (rest, exponent) = (number, 0)
        while rest % prime == 0 { (rest, exponent) = (rest / prime, exponent + 1) }
        guard rest == 1, prime > 2 else { return nil }
        (self.prime, self.exponent) = (prime, exponent)
    }
}

/// The finite field of q = p^k elements, as far as quadratic characters need it.
///
/// An element is a polynomial in x over the integers mod p, written as a number whose digits in base p are its
/// coefficients. Multiplication is modulo a monic polynomial of degree k, found by trial, under which the powers of x are
/// all q - 1 elements but zero: then the even powers are the squares.
struct FiniteField {
    let order: Int
    private let prime: Int
    private let exponent: Int
    /// χ of every element.
    private let characters: [Int8]

    init(_ size: FiniteFieldOrder) {
        (prime, exponent) = (size.prime, size.exponent)
        let (p, k) = (size.prime, size.exponent)
        let q = (0..<k).reduce(1) { product, _ in product * p }
        order = q
        // x^k = the polynomial `tail`; every tail is tried until x generates everything.
        for tail in 1..<q {
            var characters = [Int8](repeating: 0, count: q)
            // For k = 1 the generator is `tail` itself, as x = tail modulo x - tail.
            var (element, count) = (1, 0)
            repeat {
                characters[element] = count % 2 == 0 ? 1 : -1
                element = Self.timesX(element, tail: tail, p: p, q: q)
                count += 1
            } while element != 1 && element != 0 && count < q
            if element == 1, count == q - 1 {
                self.characters = characters
                return
            }
        }
        preconditionFailure("every finite field has a primitive element")
    }

    /// χ(a - b).
    func character(_ a: Int, minus b: Int) -> Int8 {
        var (a, b, difference, place) = (a, b, 0, 1)
        for _ in 0..<exponent {
            difference += (a % prime + prime - b % prime) % prime * place
            (a, b, place) = (a / prime, b / prime, place * prime)
        }
        return characters[difference]
    }

    private static func timesX(_ element: Int, tail: Int, p: Int, q: Int) -> Int {
        let carry = element / (q / p)
        var (rest, tail, sum, place) = (element % (q / p) * p, tail, 0, 1)
        while place < q {
            sum += (rest % p + carry * (tail % p)) % p * place
            (rest, tail, place) = (rest / p, tail / p, place * p)
        }
        return sum
    }
}
