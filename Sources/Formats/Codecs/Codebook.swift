/// The vectors that a codebook type may use, prepared for finding the nearest one to any other.
///
/// A vector is 8 levels of two bits, or 4 of three bits, packed from the lowest bits up. Level l stands for 2l + 1 when
/// distances are measured. What is not in the codebook has a list of candidates: the vectors at the smallest distance, and
/// at as many next larger distances as the type's reference looks at, nearest first, in the codebook's order when equal.
final class Codebook: Sendable {
    /// Elements of a vector, and bits of each.
    let dimension: Int, bitWidth: Int
    let levelCount: Int
    /// The packed vectors.
    let vectors: [UInt16]
    /// Of each packed vector: its place in the codebook; or -1 - k, where `candidates[k]` is the number of its candidates
    /// and those, packed, follow. They are padded to a multiple of sixteen with copies of the first.
    let places: [Int32]
    let candidates: [UInt16]

    static let candidatesAtOnce = 16

    static let iq2xxs = Codebook(iq2xxsCodebook, dimension: 8, distanceCount: 2)
    static let iq2xs = Codebook(iq2xsCodebook, dimension: 8, distanceCount: 2)
    static let iq2s = Codebook(iq2sCodebook, dimension: 8, distanceCount: 1)
    static let iq1 = Codebook(iq1Codebook, dimension: 8, distanceCount: 3)
    static let iq3xxs = Codebook(iq3xxsCodebook, dimension: 4, distanceCount: 2)
    static let iq3s = Codebook(iq3sCodebook, dimension: 4, distanceCount: 3)

    /// - Parameter distanceCount: how many different distances count as near.
    private init(_ vectors: [UInt16], dimension: Int, distanceCount: Int) {
        self.vectors = vectors
        self.dimension = dimension
        let (bitWidth, levelCount) = dimension == 8 ? (2, 3) : (3, 8)
        (self.bitWidth, self.levelCount) = (bitWidth, levelCount)
        let halfWidth = dimension * bitWidth / 2
        let distances = Codebook.halfDistances(dimension: dimension / 2, bitWidth: bitWidth)
        let mask = 1 << halfWidth - 1

        var places = [Int32](repeating: -1, count: 1 << (2 * halfWidth))
        for (place, vector) in vectors.enumerated() { places[Int(vector)] = Int32(place) }
        var candidates: [UInt16] = []
        var found = [UInt8](repeating: 0, count: vectors.count)
        for point in places.indices where places[point] < 0 {
            guard (0..<dimension).allSatisfy({ point >> ($0 * bitWidth) & (1 << bitWidth - 1) < levelCount }) else { continue }
            let low = (point & mask) << halfWidth
            let high = (point >> halfWidth) << halfWidth
            var counts = [Int](repeating: 0, count: 256)
            for index in vectors.indices {
                let vector = Int(vectors[index])
                let distance = distances[low | vector & mask] + distances[high | vector >> halfWidth]
                found[index] = distance
                counts[Int(distance)] += 1
            }
            let near = counts.indices.filter { counts[$0] > 0 }.prefix(distanceCount)
            let count = near.reduce(0) { $0 + counts[$1] }
            places[point] = Int32(-1 - candidates.count)
            candidates.append(UInt16(count))
            for distance in near {
                for index in vectors.indices where Int(found[index]) == distance { candidates.append(vectors[index]) }
            }
            let first = candidates[candidates.count - count]
            let padding = (Codebook.candidatesAtOnce - count % Codebook.candidatesAtOnce) % Codebook.candidatesAtOnce
            candidates.append(contentsOf: repeatElement(first, count: padding))
        }
        self.places = places
        self.candidates = candidates
    }

    /// Σ(level - level')² of every two half vectors; the largest is 196.
    private static func halfDistances(dimension: Int, bitWidth: Int) -> [UInt8] {
        let width = dimension * bitWidth
        return (0..<1 << (2 * width)).map { pair in
            var sum = 0
            for i in 0..<dimension {
                let mask = 1 << bitWidth - 1
                let difference = pair >> (i * bitWidth) & mask - pair >> (width + i * bitWidth) & mask
                sum += difference * difference
            }
            return UInt8(truncatingIfNeeded: sum)
        }
    }

    /// The level of element `i` of a packed vector.
    func level(_ vector: UInt16, _ i: Int) -> Int { Int(vector >> UInt16(i * bitWidth)) & (1 << bitWidth - 1) }

    /// Whether the codebook has a vector.
    func contains(_ vector: UInt16) -> Bool { places[Int(vector)] >= 0 }

    /// The place of a vector that the codebook has.
    func place(_ vector: UInt16) -> Int { Int(places[Int(vector)]) }

    /// The vector itself if the codebook has it, else the candidate with the smallest Σ w (scale * value(level) - x)², the
    /// first of equals; the first of all where none of the sums is a finite number.
    func nearest(
        to vector: UInt16, _ x: Span<Float>, weights: Span<Float>, scale: Float, value: (Int) -> Float
    ) -> UInt16 {
        let place = Int(places[Int(vector)])
        if place >= 0 { return vector }
        let start = -1 - place
        let count = Int(candidates[start])
        var best = candidates[start + 1]
        var smallest = Float.greatestFiniteMagnitude
        for candidate in candidates[start + 1..<start + 1 + count] {
            var sum: Float = 0
            for i in 0..<dimension {
                let difference = scale * value(level(candidate, i)) - x[i]
                sum += weights[i] * difference * difference
            }
            if sum < smallest {
                smallest = sum
                best = candidate
            }
        }
        return best
    }
}
